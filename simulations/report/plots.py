"""Figures, drawn without a display."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from flwr_byzantine.lab.kept import Record


def plot_accuracy(
    results: Sequence[Record], names: Sequence[str], path: Path, title: str = ""
) -> Path:
    """Draw accuracy against rounds, one line a run, into a PNG file.

    Parameters
    ----------
    results : sequence of dict
        Results of runs.
    names : sequence of str
        What the legend calls them.
    path : Path
        The file to write; its folder is made where it is missing.
    title : str
        Title of the figure.

    Returns
    -------
    Path
        The file written.
    """
    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(
        xlabel="round", ylabel="test accuracy (%)", ylim=(0, 101), title=title
    )
    styles = ["-", "--", "-.", ":"]
    for number, (name, result) in enumerate(zip(names, results, strict=True)):
        points = [
            (r["round"], 100 * r["accuracy"]) for r in result["rounds"] if r["accuracy"] is not None
        ]
        axes.plot(*zip(*points, strict=True), styles[number % len(styles)], label=name)
    axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    return path
