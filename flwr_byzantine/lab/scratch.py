"""A separate current folder for each run of an app. It holds the files that the app can read."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MOST_BYTES, MOST_FILES = (
    200_000_000,
    200,
)  # the most that is copied for a run; links lead to the rest
PREFIX = "flwr-byzantine-run-"


@contextmanager
def scratch(folder: str | os.PathLike[str] | None, at: str | None = None) -> Iterator[None]:
    """Make a new folder the current one, and go back to the former one afterwards.

    The new folder holds what the current folder and the app's folder hold. So relative paths lead to the same
    files as before. Small files and folders are copies. Links lead to large ones.

    Parameters
    ----------
    folder : str, Path or None
        The app's folder.
    at : str or None
        Where to make the new folder, which then stays. None makes a temporary folder and removes it.
    """
    before = _current()
    made = tempfile.mkdtemp(prefix=PREFIX) if at is None else at
    os.makedirs(made, exist_ok=True)
    try:
        _fill(Path(made), [Path(place) for place in (before, folder) if place is not None])
        os.chdir(made)
        yield
    finally:
        if before is not None:
            os.chdir(before)
        if at is None:
            shutil.rmtree(made, ignore_errors=True)


@contextmanager
def inside(folder: str | None) -> Iterator[None]:
    """Make a folder the current one for a while, if it exists."""
    before = _current()
    if folder is None or before is None or not os.path.isdir(folder):
        yield
        return
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _current() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return None


def _fill(made: Path, sources: list[Path]) -> None:
    """Copy or link the contents of some folders. If two things have the same name, take the first."""
    found: dict[str, tuple[int, int, Path]] = {}
    for source in sources:
        for path in _listed(source):
            if path.name not in found:
                found[path.name] = (*_size(path), path)
    size, files = MOST_BYTES, MOST_FILES
    for number, of_path, path in sorted(found.values()):
        if of_path <= size and number <= files and _copied(path, made / path.name):
            size, files = size - of_path, files - number
            continue
        shutil.rmtree(made / path.name, ignore_errors=True)  # the part that was copied
        (made / path.name).unlink(missing_ok=True)
        (made / path.name).symlink_to(path.absolute())


def _listed(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if not path.name.startswith(PREFIX)]
    except OSError:
        return []


def _size(path: Path) -> tuple[int, int]:
    """The number of files and bytes of a file or folder. Counting stops where more makes no difference."""
    size = files = 0
    waiting = [str(path)]
    while waiting and size <= MOST_BYTES and files <= MOST_FILES:
        place, files = waiting.pop(), files + 1
        try:
            if not os.path.isdir(place):
                size += os.path.getsize(place)
            elif files == 1 or not os.path.islink(place):
                waiting += [entry.path for entry in os.scandir(place)]
        except OSError:
            continue
    return files, size


def _copied(path: Path, to: Path) -> bool:
    """Copy a file or folder. Return False if it cannot be copied, such as a socket."""
    try:
        if path.is_dir():
            to.mkdir()
            return all(_copied_below(inner, to / inner.name) for inner in path.iterdir())
        if path.is_file():
            shutil.copy2(path, to)
            return True
    except (OSError, shutil.Error):
        pass
    return False


def _copied_below(path: Path, to: Path) -> bool:
    """Copy the contents of a folder. Links to folders stay links, because they may lead in a circle."""
    if path.is_symlink() and not path.is_file():
        to.symlink_to(path.parent.absolute() / os.readlink(path))
        return True
    return _copied(path, to)
