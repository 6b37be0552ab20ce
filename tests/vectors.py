"""The published worked examples of tests/vectors.json, by name."""

import json
from pathlib import Path

VECTORS = {each["name"]: each for each in json.loads(Path(__file__).with_name("vectors.json").read_text())["vectors"]}


def vector(name: str) -> dict:
    """One example: inputs, expected, tolerance, source, note."""
    return VECTORS[name]
