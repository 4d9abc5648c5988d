"""Runs the library's tests on the installed wheel, in an environment of its own, from an empty folder.

``python tests/helpers/installed.py WHEEL [CONSTRAINTS]`` takes the versions of a file of constraints, or the
newest ones without such a file. Tests of code that is not in the wheel are left out, and so are tests that
start Ray or a SuperLink.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
TOOLS = ("hypothesis", "pytest", "pytest-timeout")
ELSEWHERE = re.compile(
    r"^\s*(?:from|import) (?:benchmarks|clients|deploy|simulations|sklearn|torch)\b|^REPOSITORY\b",
    re.MULTILINE,
)


def main(wheel: str, *constraints: str) -> int:
    """Install and test. Return pytest's exit code."""
    with tempfile.TemporaryDirectory(prefix="installed-") as folder:
        python = install(Path(folder) / "venv", wheel, constraints)
        return run(Path(folder), python)


def install(folder: Path, wheel: str, constraints: Sequence[str]) -> Path:
    """Make an environment with the wheel in it. Return its Python."""
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    pip = [python, "-m", "pip", "--disable-pip-version-check"]
    limits = [option for file in constraints for option in ("-c", file)]
    subprocess.run([*pip, "install", "-q", *limits, wheel, *TOOLS], check=True)
    subprocess.run([*pip, "check"], check=True)
    return python


def run(folder: Path, python: Path) -> int:
    """Run the tests from an empty folder."""
    empty, tests = folder / "empty", folder / "tests"
    empty.mkdir()
    shutil.copytree(TESTS, tests, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(TESTS.parent / "docs", folder / "docs")  # a test reads the list of faults there
    chosen = [p for p in sorted(tests.rglob("test_*.py")) if not ELSEWHERE.search(p.read_text())]
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    subprocess.run(
        [python, "-m", "flwr_byzantine", "doctor"], cwd=empty, env=environment, check=True
    )
    environment["PYTHONPATH"] = str(tests / "helpers")
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", tests]
    options = ["-m", "not slow", "-W", "ignore::pytest.PytestUnknownMarkWarning"]
    return subprocess.run([*command, *options, *chosen], cwd=empty, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
