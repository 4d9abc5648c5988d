"""A lock beside a file: one process at a time writes it, and the lock ends with that process."""

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
    """Another process holds the lock; its text says which."""


@dataclass
class _Held:
    """A lock that this process holds, and by how many owners."""

    descriptor: int
    process: int
    owners: int


_held: dict[Path, _Held] = {}
_guard = threading.Lock()


class FileLock:
    """A lock on a file, of the whole process: two owners in one process share it.

    It is released with :meth:`release`, with its owner, or when the process ends, however it ends. A
    forked process does not have it.

    Parameters
    ----------
    path : Path
        The lock's own file; made, and removed when the lock is released.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._end: weakref.finalize[Any, Any] | None = None
        self._process = 0

    def __getstate__(self) -> dict[str, Any]:
        """What copies and pickles hold: they have not got the lock."""
        return {"path": self.path}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Be a lock of the same file, not taken."""
        self.__init__(state["path"])  # type: ignore[misc]

    def acquire(self) -> None:
        """Take the lock; nothing where it is taken already.

        Raises
        ------
        LockedError
            If another process has it.
        OSError
            If its file cannot be written.
        """
        mine = self._end is not None and self._end.alive and self._process == os.getpid()
        key = self.path.parent.resolve() / self.path.name
        with _guard:
            held = _held.get(key)
            if held is None or held.process != os.getpid():
                held = _held[key] = _Held(_lock(key), os.getpid(), 0)
            elif not _is_at(held.descriptor, key):  # its folder was moved away: begin anew
                anew = _lock(key)
                os.close(held.descriptor)
                held.descriptor = anew
            if not mine:
                held.owners += 1
        if not mine:
            self._process = os.getpid()
            self._end = weakref.finalize(self, _release, key)

    def release(self) -> None:
        """Give the lock back."""
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
        if _is_at(descriptor, path):  # and was not removed before we had it
            with suppress(OSError):  # on a full disk it is locked all the same
                os.ftruncate(descriptor, 0)
                os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())
            return descriptor
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file is the one of a name."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False
