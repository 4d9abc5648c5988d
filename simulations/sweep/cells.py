"""The results of cells: one file each, or all of them packed into one.

A sweep writes ``<experiment>/<key>.json`` into its folder. `pack_cells` moves these into
``cells.jsonl.xz`` beside them, one line a cell. Whoever reads a cell looks for its own file first, so
that a sweep goes on from a packed folder as from any other.
"""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from simulations.measure.results import Record, replace_file
from simulations.sweep.experiment import Cell

PACKED = "cells.jsonl.xz"
KEY = 16 * "[0-9a-f]"  # what a cell's file is called: other files stay where they are


def cell_path(folder: Path, cell: Cell) -> Path:
    """Return the file of a cell's result, where it has one of its own."""
    return folder / _name(cell)


def read_cell(folder: Path, cell: Cell) -> Record | None:
    """Return the result of a cell, or None where it has not been run.

    Parameters
    ----------
    folder : Path
        The folder of a sweep, or a packed file.
    cell : Cell
        The cell.

    Raises
    ------
    ValueError
        If a file is damaged.
    """
    if not folder.is_file() and (path := cell_path(folder, cell)).exists():
        return _read(path)
    return _packed(folder).get(_name(cell))


def missing_cells(cells: Iterable[Cell], folder: Path) -> list[Cell]:
    """Return the cells without a result, each configuration once."""
    unique = {_name(cell): cell for cell in cells}
    packed = _packed(folder)
    return [
        cell
        for name, cell in unique.items()
        if name not in packed and not cell_path(folder, cell).exists()
    ]


def pack_cells(folder: Path) -> tuple[Path, int]:
    """Move the cells of a folder into its packed file, in the order of their names.

    The same cells give the same bytes. A cell's own file wins over what was packed before. The files
    are deleted once the packed one is there.

    Returns
    -------
    Path, int
        The packed file, and how many cells it holds.
    """
    files = {path.relative_to(folder).as_posix(): path for path in folder.glob(f"*/{KEY}.json")}
    cells = _packed(folder) | {name: _read(path) for name, path in files.items()}
    lines = [json.dumps({"cell": name, **cells[name]}) + "\n" for name in sorted(cells)]
    packed = replace_file(folder / PACKED, lzma.compress("".join(lines).encode(), preset=6))
    for path in files.values():
        path.unlink()
        if not any(path.parent.iterdir()):
            path.parent.rmdir()
    return packed, len(cells)


def _name(cell: Cell) -> str:
    """The name of a cell among all."""
    return f"{cell.experiment}/{cell.key}.json"


def _read(path: Path) -> Record:
    """Read a cell's own file."""
    try:
        found: Record = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(
            f"A cell should be valid JSON. Found {path}, which is not: delete it, and sweep again."
        ) from error
    return found


def _packed(folder: Path) -> dict[str, Record]:
    """Return the packed cells by name; none where nothing was packed."""
    path = folder if folder.is_file() else folder / PACKED
    return _unpack(path, path.stat().st_mtime_ns) if path.exists() else {}


@lru_cache(maxsize=1)
def _unpack(path: Path, changed: int) -> dict[str, Record]:
    """Read a packed file, once as long as it has not changed."""
    try:
        with lzma.open(path, "rt", encoding="utf-8") as lines:
            cells = [json.loads(line) for line in lines]
        return {cell.pop("cell"): cell for cell in cells}
    except (EOFError, KeyError, ValueError, lzma.LZMAError) as error:
        raise ValueError(
            f"A packed file should hold one cell a line. Found {path}, which is damaged: restore it, "
            "or delete it and sweep again."
        ) from error
