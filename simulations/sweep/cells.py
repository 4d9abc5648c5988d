"""The results of cells, which :mod:`flwr_byzantine.lab.kept` keeps as ``<experiment>/<key>.json``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from flwr_byzantine.lab.kept import Kept, Record
from simulations.sweep.experiment import Cell


def cell_path(folder: Path, cell: Cell) -> Path:
    """Return the path of a cell's own file."""
    return Kept(folder).path(_name(cell))


def read_cell(folder: Path, cell: Cell) -> Record | None:
    """Return the result of a cell; None if it has not run.

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
    return Kept(folder).read(_name(cell))


def missing_cells(cells: Iterable[Cell], folder: Path) -> list[Cell]:
    """Return the cells without a result, each configuration once."""
    unique = {_name(cell): cell for cell in cells}
    return [unique[name] for name in Kept(folder).missing(unique)]


def _name(cell: Cell) -> str:
    """The name of a cell among all cells."""
    return f"{cell.experiment}/{cell.key}.json"
