"""The pictures of a document, and how they are saved."""

from __future__ import annotations

import io
from pathlib import Path
from typing import NamedTuple

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from flwr_byzantine.lab.kept import replace_file
from simulations.report.looks import FIXED
from simulations.report.slim import svg_of

LARGEST = 200_000  # bytes of an SVG; a larger picture is saved as PNG
DPI = 192  # two pixels for each pixel of a page


class Drawing(NamedTuple):
    """A picture: a short name for its file, what it shows, and the picture, or None if there is none."""

    kind: str
    shows: str
    drawn: Figure | str | None


def save(drawing: Drawing, path: Path) -> str | None:
    """Write a picture in place of that of an earlier report, and return the name of its file."""
    for suffix in (".png", ".svg"):
        path.with_suffix(suffix).unlink(missing_ok=True)
    if drawing.drawn is None:
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(drawing.drawn, str):
        return replace_file(path.with_suffix(".svg"), drawing.drawn.encode()).name
    data = svg_of(drawing.drawn, drawing.shows, path.name).encode()
    if len(data) <= LARGEST:
        return replace_file(path.with_suffix(".svg"), data).name
    return replace_file(path.with_suffix(".png"), png_of(drawing.drawn)).name


def png_of(drawn: Figure) -> bytes:
    """Return a figure as a PNG with all of its colours, twice as large as it is shown."""
    FigureCanvasAgg(drawn)
    buffer = io.BytesIO()
    with matplotlib.rc_context(FIXED):
        drawn.savefig(buffer, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()
