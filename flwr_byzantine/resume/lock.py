"""A lock on a file. Only one process at a time writes the file, and the lock ends with that process."""

import errno
import fcntl
import os
import socket
import threading
import weakref
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from logging import WARNING
from pathlib import Path
from typing import Any

from flwr.common.logger import log

_UNSUPPORTED = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)


class LockedError(Exception):
    """Another process holds the lock. The text says which process."""


@dataclass
class _Held:
    """A lock that this process holds, with the number of its owners."""

    descriptor: int
    process: int
    owners: int


_held: dict[Path, _Held] = {}
_guard = threading.Lock()


class FileLock:
    """A lock on a file for the whole process. Two owners in one process share it.

    The lock is released by :meth:`release`, when its owner goes away, or when the process ends for any
    reason. A forked process does not hold it.

    Parameters
    ----------
    path : Path
        The lock's own file. Taking the lock makes the file, and releasing the lock removes it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._end: weakref.finalize[Any, Any] | None = None
        self._process = 0

    def __getstate__(self) -> dict[str, Any]:
        """The state for copies and pickles, which do not hold the lock."""
        return {"path": self.path}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Become a lock on the same file that is not taken."""
        self.__init__(state["path"])  # type: ignore[misc]

    def acquire(self) -> None:
        """Take the lock. Do nothing if this object has it already.

        Raises
        ------
        LockedError
            If another process has the lock.
        OSError
            If its file cannot be written.
        """
        mine = self._end is not None and self._end.alive and self._process == os.getpid()
        key = self.path.parent.resolve() / self.path.name
        with _guard:
            held = _held.get(key)
            if held is None or held.process != os.getpid():
                held = _held[key] = _Held(_lock(key), os.getpid(), 0)
            elif not _is_at(held.descriptor, key):  # its folder was moved away, so take a new lock
                anew = _lock(key)
                os.close(held.descriptor)
                held.descriptor = anew
            if not mine:
                held.owners += 1
        if not mine:
            self._process = os.getpid()
            self._end = weakref.finalize(self, _release, key)

    def release(self) -> None:
        """Release the lock."""
        if self._end is not None:
            self._end()
            self._end = None


def _release(key: Path) -> None:
    with _guard:
        held = _held.get(key)
        if held is None or held.process != os.getpid():
            return
        held.owners -= 1
        if held.owners:
            return
        del _held[key]
        if _is_at(held.descriptor, key):
            key.unlink(missing_ok=True)
        os.close(held.descriptor)


def _lock(path: Path) -> int:
    """An open file that this process has locked."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _UNSUPPORTED:
                log(WARNING, "%s cannot be locked. Make sure that only one process uses it", path)
                return descriptor
            holder = os.read(descriptor, 200).decode(errors="replace")
            os.close(descriptor)
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise
            shown = "".join(character for character in holder if character.isprintable())
            raise LockedError(shown or "another process") from None
        if _is_at(descriptor, path):  # the file was not removed before it was locked
            with suppress(OSError):  # a full disk does not prevent the lock
                os.ftruncate(descriptor, 0)
                os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())
            return descriptor
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file is still the file at a path."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False
