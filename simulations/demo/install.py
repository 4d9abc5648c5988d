"""Makes the environment of the demonstration: says what it installs, and shows the progress.

`make demo` runs ``python -m simulations.demo.install FOLDER`` with a Python that has no packages yet.
"""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
import tomllib
import venv
from collections import deque
from pathlib import Path
from typing import IO

REPOSITORY = Path(__file__).resolve().parents[2]
EXTRA = "demo"  # of pyproject.toml
PACKAGES, DOWNLOAD, DISK = 75, 220, 700  # megabytes, measured on Linux
EVERY = 5.0  # seconds between lines, if there is no terminal
UNITS = {"kB": 1e-3, "MB": 1.0, "GB": 1e3}


def announcement(folder: Path) -> str:
    """Say what will be installed, how much, and where."""
    return (
        "This demonstration needs Flower with Ray, NumPy, scikit-learn and matplotlib, but not torch.\n"
        f"It installs about {PACKAGES} packages: {DOWNLOAD} MB to download, {DISK} MB on disk, all in\n"
        f"{folder.resolve()}. Nothing else is changed. To undo it, delete the folder."
    )


def requirements() -> list[str]:
    """Return what the library and its extra need. The library itself is not installed or compiled."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    return [*project["dependencies"], *project["optional-dependencies"][EXTRA]]


class Pip:
    """The progress of pip, according to its output.

    Parameters
    ----------
    folder : Path
        The virtual environment.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.found, self.megabytes, self.total = 0, 0.0, 0
        self.last: deque[str] = deque(maxlen=15)
        self.before = self._installed()  # pip itself

    def read(self, lines: IO[str]) -> None:
        """Take the lines that pip prints, until it ends."""
        for line in lines:
            self.line(line)

    def line(self, line: str) -> None:
        """Take a line that pip prints."""
        self.last.append(line)
        text = line.strip()
        if text.startswith(("Collecting ", "Processing /")):
            self.found += 1
        elif size := re.match(r"Downloading .*\(([\d.]+) (kB|MB|GB)\)", text):
            self.megabytes += float(size[1]) * UNITS[size[2]]
        elif text.startswith("Installing collected packages: "):
            self.total = text.count(",") + 1

    def __str__(self) -> str:
        """The progress in one line."""
        if not self.total:
            return f"downloading: {self.found} packages found, {self.megabytes:.0f} MB"
        return f"installing: {self._installed() - self.before} of {self.total} packages"

    def _installed(self) -> int:
        return sum(1 for _ in self.folder.glob("lib/python*/site-packages/*.dist-info"))


def show(pip: Pip, process: subprocess.Popen[str], out: IO[str]) -> None:
    """Show the progress of pip until it ends: in one line on a terminal, else line by line."""
    started, shown, waited = time.monotonic(), "", EVERY
    while True:
        ended = process.poll() is not None
        now, status = time.monotonic() - started, str(pip)
        if out.isatty():
            print(f"\r\033[K{now:4.0f} s  {status}", end="", file=out, flush=True)
        elif (status != shown and (waited >= EVERY or ended)) or waited >= 3 * EVERY:
            print(f"{now:4.0f} s  {status}", file=out, flush=True)
            shown, waited = status, 0.0
        if ended:
            break
        time.sleep(0.5)
        waited += 0.5
    if out.isatty():
        print(file=out)


def install(folder: Path, out: IO[str]) -> int:
    """Make the virtual environment, install into it, and return pip's exit code."""
    print(announcement(folder), "Making the environment ...", sep="\n", file=out, flush=True)
    venv.create(folder, with_pip=True, clear=True)
    # Modules are compiled when they are imported, because compiling all takes as long as copying them.
    command = [
        str(folder / "bin" / "python"),
        "-m",
        "pip",
        "--disable-pip-version-check",
        "install",
    ]
    command += ["--no-compile", "--progress-bar", "off", "-c", "constraints.txt", *requirements()]
    pip = Pip(folder)
    with subprocess.Popen(
        command, cwd=REPOSITORY, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout is not None
        reader = threading.Thread(target=pip.read, args=(process.stdout,))
        reader.start()
        show(pip, process, out)
        reader.join()
    if process.returncode:
        print("".join(pip.last), end="", file=out)
        print(f"pip failed, so {folder} is incomplete. `make demo` begins again.", file=out)
    return process.returncode


if __name__ == "__main__":
    sys.exit(install(Path(sys.argv[1]), sys.stdout))
