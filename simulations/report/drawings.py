"""What a document shows besides text: a picture that has not been saved yet."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from flwr_byzantine.lab.kept import replace_file
from simulations.report.figures import save_png


class Drawing(NamedTuple):
    """A picture: a short name for its file, what it shows, and the picture, None where there is none."""

    kind: str
    shows: str
    drawn: Figure | str | None


def save(drawing: Drawing, path: Path) -> str | None:
    """Write a picture in place of that of an earlier report; return the name of its file."""
    for suffix in (".png", ".svg"):
        path.with_suffix(suffix).unlink(missing_ok=True)
    if drawing.drawn is None:
        return None
    if isinstance(drawing.drawn, str):
        return replace_file(path.with_suffix(".svg"), drawing.drawn.encode()).name
    return save_png(drawing.drawn, path.with_suffix(".png")).name
