"""What a learner did at each question: a small file beside the notebook, so that a restarted kernel counts on.

    .tries.json    {"01_leakage": {"q1": {"tries": 3, "hints": 1, "solution_shown": false, "first_choice": "",
                                          "right": true}}}

Written where a person has the notebook open, as in mlkit.progress; a run that nobody watches counts for itself.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from mlkit.progress import NOTEBOOK, UNATTENDED

FILE = ".tries.json"
START = {"tries": 0, "hints": 0, "solution_shown": False, "first_choice": "", "right": False}


def counts_of(lesson: str, question: str) -> dict:
    """What was counted of a question so far; what cannot be read was not."""
    kept = _read(_file()).get(lesson, {})
    kept = kept.get(question, {}) if isinstance(kept, dict) else {}
    return {name: kept[name] if type(kept.get(name)) is type(start) else start for name, start in START.items()}


def keep_counts(lesson: str, question: str, counts: dict) -> None:
    """Keep what was counted of a question; where that cannot be written, it lasts as long as the kernel."""
    path = _file()
    if path is None:
        return
    whole = _read(path)
    whole.setdefault(lesson, {})[question] = counts
    new = path.with_name(f"{FILE}.new")
    try:
        new.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
        os.replace(new, path)
    except OSError:
        pass


def _file() -> Path | None:
    notebook = Path(os.environ.get(NOTEBOOK, ""))
    return notebook.with_name(FILE) if UNATTENDED not in os.environ and notebook.is_file() else None


def _read(path: Path | None) -> dict:
    try:
        whole = json.loads(path.read_text(encoding="utf-8")) if path else {}
        return {str(lesson): dict(counts) for lesson, counts in whole.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
