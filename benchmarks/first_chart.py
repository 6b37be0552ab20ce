"""How long a new user waits: from `git clone` to the first charts, with nothing cached, and how large `.venv` gets.

    python benchmarks/first_chart.py            # PYTHON=python3.12 for another one

Clones this repository into a temporary folder, installs as `make` does with pip's cache off and without any
setting of the caller's Python, runs lesson 00, and prints the sentence that the README has. The packages come from
wherever pip is set to look, so the time to download them is that of this machine's line.
"""

import os
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LESSON = "notebooks/00_first_ml_strategy.ipynb"


def main():
    with tempfile.TemporaryDirectory(prefix="first-chart-") as folder:
        home = Path(folder, "mlkit")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "MPL", "VIRTUAL_ENV"))}
        clean |= {"PIP_NO_CACHE_DIR": "1", "MPLCONFIGDIR": folder, "IPYTHONDIR": folder}
        steps = {"cloning": ["git", "clone", "-q", "--no-hardlinks", str(ROOT), str(home)],
                 "installing": ["make", "install", f"PYTHON={os.environ.get('PYTHON', 'python3')}"],
                 "lesson 00": [".venv/bin/python", "-m", "mlkit", "run", LESSON]}
        seconds = {}
        for name, words in steps.items():
            begin = time.perf_counter()
            subprocess.run(words, cwd=home if home.exists() else folder, env=clean, check=True)
            seconds[name] = time.perf_counter() - begin
        size = _size(home / ".venv")
    parts = ", ".join(f"{name} {took:.0f}" for name, took in seconds.items())
    print(f"From `git clone` to the charts of lesson 00: {sum(seconds.values()):.0f} s ({parts}). "
          f"`.venv` takes {size / 1e9:.2f} GB.")


def _size(folder: Path) -> int:
    """Bytes of a folder on disk, as du counts them."""
    return sum(path.lstat().st_blocks * 512 for path in (folder, *folder.rglob("*")))


if __name__ == "__main__":
    main()
