"""The first commands of README.md, run as a user does: two commands, an empty folder, the wheel alone.

``python tests/helpers/first_steps.py WHEEL`` installs the wheel with its lab in an environment of its own.
Then it attacks an app that does not use the library. The attack has to break the app, and a rule has to hold
it, in three minutes of processor time. So a busy machine or a slow network does not count.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Sequence
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "digits-numpy"
NEEDS = "scikit-learn"  # a requirement of the app, so its user has it
MOST = 180.0  # seconds
RULES = ("app", "fedavg", "median", "phocas", "nnm+phocas")
ATTACKS = ("none", "sign_flip", "lie", "ipm", "min_max")


def main(wheel: str) -> None:
    """Install and attack as a user of a fresh machine does. Raise if anything is not as promised."""
    os.environ.pop("PYTHONPATH", None)  # with it, pip would find the library there
    with tempfile.TemporaryDirectory(prefix="first-steps-") as folder:
        empty, scripts = Path(folder) / "empty", Path(folder) / "venv" / "bin"
        empty.mkdir()
        venv.create(scripts.parent, with_pip=True)
        pip = [scripts / "python", "-m", "pip", "--disable-pip-version-check", "install", "-q"]
        subprocess.run([*pip, NEEDS], check=True)
        started, used = time.monotonic(), processor_seconds()
        subprocess.run([*pip, f"{Path(wheel).resolve()}[lab]"], cwd=empty, check=True)
        attack([scripts / "flwr-byzantine"], empty)
        seconds, used = time.monotonic() - started, processor_seconds() - used
    assert used < MOST, f"{used:.0f} s of processor time"
    print(f"Installed, an app broken and held: {seconds:.0f} s, {used:.0f} s of processor time.")


def processor_seconds() -> float:
    """The processor time of all processes that were started from here and have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def attack(command: Sequence[str | Path], folder: Path) -> str:
    """Attack an app in a folder, and check the files there. Return what was printed."""
    app = folder / "my-flower-app"
    shutil.copytree(EXAMPLE, app, ignore=shutil.ignore_patterns("__pycache__", "*.diff"))
    before = contents(app)
    options = ["--rules", ",".join(RULES), "--attacks", ",".join(ATTACKS), "--clients", "10"]
    options += ["--byzantine", "2", "--rounds", "5", "--out", "stress/"]
    done = subprocess.run(
        [*command, "stress", "./my-flower-app", *options],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert contents(app) == before, "the app was changed"
    check(folder / "stress")
    return done.stdout


def contents(app: Path) -> dict[str, bytes]:
    """The files of an app, without those that Python compiles."""
    return {
        path.relative_to(app).as_posix(): path.read_bytes()
        for path in app.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def check(out: Path) -> None:
    """Check that the page and the data show a broken app, and a rule that holds."""
    found = json.loads((out / "stress.json").read_text())
    lost = {(cell["rule"], cell["attack"]): cell["lost"] for cell in found["cells"]}
    assert {*lost} == {(rule, attack) for rule in RULES for attack in ATTACKS}
    assert max(lost["app", attack] for attack in ATTACKS) > 50, "the app is not broken"
    rule = found["recommendation"]["rule"]
    assert rule not in (None, "fedavg"), found["recommendation"]
    assert max(lost[rule, attack] for attack in ATTACKS) < 10, "no rule holds"
    page = (out / "stress.html").read_text()
    assert found["recommendation"]["reason"][:20] in page
    assert all(name in page for name in (*RULES, *ATTACKS[1:]))


if __name__ == "__main__":
    main(*sys.argv[1:])
