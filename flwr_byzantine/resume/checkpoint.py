"""The file of a run's checkpoint, with the previous checkpoint beside it. Only one process writes them."""

import os
from contextlib import suppress
from logging import WARNING
from pathlib import Path

from flwr.common.logger import log

from flwr_byzantine.checks import require, wrong
from flwr_byzantine.resume.format import Checkpoint, CheckpointError, ForeignCheckpointError
from flwr_byzantine.resume.lock import FileLock, LockedError

__all__ = ["Checkpoint", "CheckpointError", "Checkpoints"]


class Checkpoints:
    """The checkpoint of a run, and the previous one.

    Only one process at a time can use it. A file with ``.lock`` added to its name holds a lock. The
    lock ends with the process, with this object, or when :meth:`release` is called.

    Parameters
    ----------
    path : str or Path
        The file of the newest checkpoint. The previous one is beside it, with ``.previous`` added to its
        name.

    Raises
    ------
    ValueError
        If its folder is missing or cannot be written, or if another process uses the file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        named = isinstance(path, str | os.PathLike) and "\0" not in os.fspath(path)
        require(named, "checkpoint", "the name of a file", path, "Pass a text or a Path.")
        self.path = Path(path)
        if os.path.exists(self.path) and not os.path.isfile(self.path):
            expected = "the name of a file, not of a folder or a device"
            raise wrong("checkpoint", expected, path, "Name a file in a folder.")
        self.previous = self.path.with_name(self.path.name + ".previous")
        self._checked = False
        self._keep = False
        if not os.path.isdir(self.path.parent):
            expected = "a file in a folder that exists"
            raise wrong("checkpoint", expected, str(path), "Create the folder first.")
        self._lock = FileLock(self.path.with_name(self.path.name + ".lock"))
        self._take()

    def load(self) -> Checkpoint | None:
        """Return the newest complete checkpoint; None if there is no file yet.

        Raises
        ------
        CheckpointError
            If there are files, and none of them is a complete checkpoint. If the run cannot go on from the
            newest complete one. If another process uses the files.
        """
        self._checked = self._keep = False
        self._acquire()
        refused = []
        for path in (self.path, self.previous):
            try:
                with path.open("rb") as file:
                    found = Checkpoint.read(file)
            except FileNotFoundError:
                continue
            except (ForeignCheckpointError, OSError) as error:
                refused = [f"{path}: {error}"]
                break
            except CheckpointError as error:
                log(WARNING, "Refused checkpoint %s: %s", path, error)
                refused.append(f"{path}: {error}")
                continue
            self._checked, self._keep = True, path == self.path
            return found
        if refused:
            raise CheckpointError(
                "Parameter `checkpoint` should be a file that this library wrote, or a new file. Found "
                f"{'; '.join(refused)}. Restore the file, or move it away to start from round 1."
            )
        self._checked = True
        return None

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint. Even if the process dies meanwhile, this one or the last one is complete.

        If files or their folder were deleted or moved away meanwhile, they are made again.

        Raises
        ------
        CheckpointError
            If the file is no checkpoint of this library, or if another process uses it.
        OSError
            If it cannot be written. The last checkpoint then stays as it was.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._acquire()
        if not self._checked:
            self.load()
        partial = self.path.with_name(self.path.name + ".partial")
        try:
            with partial.open("wb") as file:
                checkpoint.write(file)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            with suppress(OSError):
                partial.unlink()
            raise
        if self._keep:  # never replace a good file by a torn one
            with suppress(FileNotFoundError):  # deleted or moved away meanwhile
                os.replace(self.path, self.previous)
        os.replace(partial, self.path)
        self._keep = True
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def release(self) -> None:
        """Let other processes use it, until this one reads or writes it again."""
        self._lock.release()

    def _acquire(self) -> None:
        try:
            self._lock.acquire()
        except LockedError as error:
            raise CheckpointError(
                "Parameter `checkpoint` should be a file that no other process uses. Found "
                f"`checkpoint = {str(self.path)!r}`, used by {error}. End that process, or choose another "
                "file for this run."
            ) from None

    def _take(self) -> None:
        """Lock the file. Raise if it could not be written later."""
        try:
            self._acquire()
        except OSError as error:
            expected = "a file in a folder that can be written"
            found = f"`checkpoint = {str(self.path)!r}`: {error}"
            advice = "Let the server write there, or choose another folder."
            raise wrong("checkpoint", expected, self.path, advice, found=found) from error
