"""Results of runs in a folder: one file for each result, or all of them packed into one file.

`pack` moves the files into ``cells.jsonl.xz`` beside them, with one line for each result. A reader looks for
a result's own file first. So runs go on from a packed folder as from any other folder.
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
KEY = 16 * "[0-9a-f]"  # the name of a result's file; other files stay where they are


def finite(value: Any) -> Any:
    """Return a copy in which NaN and infinities are None, because JSON has neither.

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
    """Write a record as JSON, completely or not at all."""
    text = json.dumps(finite(record), indent=indent, allow_nan=False) + "\n"
    return replace_file(path, text.encode())


def replace_file(path: Path, content: bytes) -> Path:
    """Write a file, completely or not at all. Make its folder if it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(
        f".{path.name}.{os.getpid()}"
    )  # another process may write the same file
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
        A folder, which need not exist yet, or a packed file. The name of a result is
        ``<group>/<key>.json``, and its key has 16 hexadecimal digits.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str) -> Path:
        """Return the path of a result's own file."""
        return self.folder / name

    def read(self, name: str) -> Record | None:
        """Return a result, or None if it is not there.

        Raises
        ------
        ValueError
            If a file is damaged.
        """
        if not self.folder.is_file() and (path := self.path(name)).exists():
            return _read(path)
        return self._packed().get(name)

    def write(self, name: str, record: Record) -> Path:
        """Keep a result. A reader sees the complete result or none."""
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

        The same results give the same bytes. A result's own file replaces a result that was packed before.
        The files are deleted once the packed file is complete.

        Returns
        -------
        Path, int
            The packed file, and how many results it holds.

        Raises
        ------
        ValueError
            If there is no result, or one is damaged.
        """
        folder = self.folder
        files = {path.relative_to(folder).as_posix(): path for path in folder.glob(f"*/{KEY}.json")}
        results = self._packed() | {name: _read(path) for name, path in files.items()}
        if not results:
            raise ValueError(
                f"{folder} should hold results. Found none. Name the folder of a sweep."
            )
        lines = [json.dumps({"cell": name, **results[name]}) + "\n" for name in sorted(results)]
        packed = replace_file(folder / PACKED, lzma.compress("".join(lines).encode(), preset=6))
        for path in files.values():
            path.unlink()
            if not any(path.parent.iterdir()):
                path.parent.rmdir()
        return packed, len(results)

    def _packed(self) -> dict[str, Record]:
        """Return the packed results by name; empty if nothing was packed."""
        path = self.folder if self.folder.is_file() else self.folder / PACKED
        return _unpack(path, path.stat().st_mtime_ns) if path.exists() else {}


def _read(path: Path) -> Record:
    """Read a result's own file."""
    try:
        found: Record = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(
            f"A result should be valid JSON. Found {path}, which is not. Delete the file, and run again."
        ) from error
    return found


@lru_cache(maxsize=1)
def _unpack(path: Path, changed: int) -> dict[str, Record]:
    """Read a packed file. It is read again only if it has changed."""
    try:
        with lzma.open(path, "rt", encoding="utf-8") as lines:
            results = [json.loads(line) for line in lines]
        return {result.pop("cell"): result for result in results}
    except (EOFError, KeyError, ValueError, lzma.LZMAError) as error:
        raise ValueError(
            f"A packed file should hold one result in each line. Found {path}, which is damaged. Restore it, "
            "or delete it and run everything again."
        ) from error
