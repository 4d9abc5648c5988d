"""Pictures that an experiment asks for by name, besides the usual ones."""

from __future__ import annotations

from collections.abc import Iterator

from simulations.report.blocks import Block
from simulations.report.drawings import Drawing
from simulations.report.fairness import fairness_blocks
from simulations.report.holdings_panels import holdings_drawings
from simulations.report.pool import Pool
from simulations.report.view import Results
from simulations.report.worst_case import worst_case_blocks
from simulations.report.wrong_f import wrong_f_drawings
from simulations.sweep.experiment import View


def view_blocks(
    results: Results, experiment: str, view: View, figure: str | None = None
) -> Iterator[Block | Drawing]:
    """Yield what belongs to a view of an experiment, or of one of its figures.

    Parameters
    ----------
    results : Results
        What has been measured.
    experiment : str
        The experiment.
    view : {"worst_case", "wrong_f", "fairness", "holdings"}
        What is asked for.
    figure : str or None
        The figure. None: all figures of the experiment together.
    """
    match view:
        case "worst_case":
            yield from worst_case_blocks(Pool(results, experiment, figure))
        case "wrong_f":
            yield from wrong_f_drawings(results, experiment, figure)
        case "holdings":
            yield from holdings_drawings(results, experiment, figure)
        case "fairness":
            yield from fairness_blocks(Pool(results, experiment, figure))
