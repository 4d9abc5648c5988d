"""Results of runs that are kept in a folder: a file each, written whole, or all packed into one.

`pack` moves the files into ``cells.jsonl.xz`` beside them, one line a result. Whoever reads a result looks
for its own file first, so that runs go on from a packed folder as from any other.
"""

from __future__ import annotations

import json
import lzma
import math
import os
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

Record = dict[str, Any]

PACKED = "cells.jsonl.xz"
KEY = 16 * "[0-9a-f]"  # what a result's file is called: other files stay where they are


def finite(value: Any) -> Any:
    """Return a copy in which NaN and infinities are None, as JSON knows neither.

    Examples
    --------
    >>> finite({1: (0.5, float("nan"))})
    {'1': [0.5, None]}
    """
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def write(record: Record, path: Path, indent: int | None = None) -> Path:
    """Write a record as JSON, all of it or nothing."""
    text = json.dumps(finite(record), indent=indent, allow_nan=False) + "\n"
    return replace_file(path, text.encode())


def replace_file(path: Path, content: bytes) -> Path:
    """Write a file, all of it or nothing; its folder is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")  # another process may write it too
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


class Kept:
    """Results by name, in a folder or in a packed file.

    Parameters
    ----------
    folder : Path
        A folder, which need not be there yet, or a packed file. A name is ``<group>/<key>.json``, where
        the key is 16 hexadecimal digits.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str) -> Path:
        """Return the file of a result, where it has one of its own."""
        return self.folder / name

    def read(self, name: str) -> Record | None:
        """Return a result, or None where it is not there.

        Raises
        ------
        ValueError
            If a file is damaged.
        """
        if not self.folder.is_file() and (path := self.path(name)).exists():
            return _read(path)
        return self._packed().get(name)

    def write(self, name: str, record: Record) -> Path:
        """Keep a result; a reader sees all of it or nothing."""
        return write(record, self.path(name))

    def missing(self, names: Iterable[str]) -> list[str]:
        """Return the names without a result, each once."""
        packed = self._packed()
        return [
            name
            for name in dict.fromkeys(names)
            if name not in packed and not self.path(name).exists()
        ]

    def pack(self) -> tuple[Path, int]:
        """Move the files of a folder into its packed file, in the order of their names.

        The same results give the same bytes. A result's own file wins over what was packed before. The files
        are deleted once the packed one is there.

        Returns
        -------
        Path, int
            The packed file, and how many results it holds.
        """
        folder = self.folder
        files = {path.relative_to(folder).as_posix(): path for path in folder.glob(f"*/{KEY}.json")}
        results = self._packed() | {name: _read(path) for name, path in files.items()}
        lines = [json.dumps({"cell": name, **results[name]}) + "\n" for name in sorted(results)]
        packed = replace_file(folder / PACKED, lzma.compress("".join(lines).encode(), preset=6))
        for path in files.values():
            path.unlink()
            if not any(path.parent.iterdir()):
                path.parent.rmdir()
        return packed, len(results)

    def _packed(self) -> dict[str, Record]:
        """Return the packed results by name; none where nothing was packed."""
        path = self.folder if self.folder.is_file() else self.folder / PACKED
        return _unpack(path, path.stat().st_mtime_ns) if path.exists() else {}


def _read(path: Path) -> Record:
    """Read a result's own file."""
    try:
        found: Record = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(
            f"A result should be valid JSON. Found {path}, which is not: delete it, and run it again."
        ) from error
    return found


@lru_cache(maxsize=1)
def _unpack(path: Path, changed: int) -> dict[str, Record]:
    """Read a packed file, once as long as it has not changed."""
    try:
        with lzma.open(path, "rt", encoding="utf-8") as lines:
            results = [json.loads(line) for line in lines]
        return {result.pop("cell"): result for result in results}
    except (EOFError, KeyError, ValueError, lzma.LZMAError) as error:
        raise ValueError(
            f"A packed file should hold one result a line. Found {path}, which is damaged: restore it, "
            "or delete it and run all again."
        ) from error
