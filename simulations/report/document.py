"""The report: figures, tables and scoreboard of a folder of cells, as Markdown and as HTML."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from matplotlib.figure import Figure

from flwr_byzantine.lab.kept import replace_file
from simulations.report.blocks import (
    Block,
    Heading,
    Image,
    Text,
    anchor,
    render_html,
    render_markdown,
)
from simulations.report.claim import load_claims
from simulations.report.figures import (
    draw_curves,
    draw_scores,
    save_png,
)
from simulations.report.heatmaps import draw_accuracy_map, draw_rejections
from simulations.report.published import published_blocks
from simulations.report.scoreboard import Judged, judge
from simulations.report.tables import accuracy_table, grid, scoreboard_blocks
from simulations.report.view import Place, Results
from simulations.sweep.experiment import Experiment

TITLE = "The four papers, measured"
READING = (
    "Tables show means over the seeds, ± half of the range, and the rounds that were skipped: too few "
    "replies were usable, and the model stayed. Lines are means over the seeds, bands reach from the "
    "least to the largest value, and a gap is a model that is gone or did not move. The step of a round "
    "is the old model minus the new one, so its inner product with the true gradient is positive where "
    "the model descends (Fall of Empires, definition 4); cosines weigh all rounds alike, inner products "
    "shrink with the gradient. In heatmaps of accuracy a cell is darker the more points it is below the "
    "best one of the figure. In those of rejected replies it is darker the more are rejected: a good rule "
    "is dark for Byzantine clients and light for honest ones. A dash is a cell that was not run, and a pair "
    "that makes no sense has no cell. A client of a coordinate-wise rule counts as rejected where fewer "
    "than half as many of its values were used as of the average client; rounds that were skipped do "
    "not count."
)


def write_report(results: Results, out: Path) -> list[Judged]:
    """Write ``report.html``, ``README.md`` and the figures, and return the judged claims.

    Parameters
    ----------
    results : Results
        What has been measured.
    out : Path
        The folder to write into; it is made where it is missing.
    """
    out.mkdir(parents=True, exist_ok=True)
    judged = judge(load_claims(), results)
    covered = _coverage(results, results.cells)
    blocks: list[Block] = [
        Heading(TITLE, 1),
        Text(f"Profile `{results.profile}`: {covered}."),
        *(scoreboard_blocks(judged) if judged else []),
        Heading("How to read the figures"),
        Text(READING),
    ]
    for experiment in results.experiments:
        blocks += _experiment(results, experiment, out)
    (out / "README.md").write_text(render_markdown(blocks))
    (out / "report.html").write_text(render_html(blocks, out))
    return judged


def _experiment(results: Results, experiment: Experiment, out: Path) -> Iterator[Block]:
    """Yield what there is to say of an experiment."""
    yield Heading(experiment.title)
    scale = f"Scale: {experiment.profiles[results.profile].note}"
    yield Text(" ".join([f"{experiment.source}.", *filter(None, [experiment.about]), scale]))
    yield from published_blocks(results, experiment)
    for name, figure in experiment.figures.items():
        yield Heading(f"{experiment.title}, {name}", 3)
        covered = _coverage(results, results.places(experiment.name, name))
        yield Text(f"{figure.title}: {covered}.")
        yield accuracy_table(results, experiment.name, name)
        for kind, shows, drawn in _figures(results, experiment.name, name):
            path = out / anchor(f"{experiment.name} {name} {kind}")
            for suffix in (".png", ".svg"):
                path.with_suffix(suffix).unlink(missing_ok=True)  # of an earlier report
            if drawn is not None:
                yield Image(_save(drawn, path), f"{experiment.title}, {name}: {shows}")


def _save(drawn: Figure | str, path: Path) -> str:
    """Write a figure, and return the name of its file."""
    if isinstance(drawn, str):
        return replace_file(path.with_suffix(".svg"), drawn.encode()).name
    return save_png(drawn, path.with_suffix(".png")).name


def _figures(
    results: Results, experiment: str, figure: str
) -> Iterator[tuple[str, str, Figure | str | None]]:
    """Yield the figures by a short name, and what each shows; None where there is nothing to."""
    place = experiment, figure
    metric = results.metric(experiment)
    drawn = draw_curves(results, *place, metric.name, metric.label, 100)
    yield "accuracy", f"{metric.label} over rounds", drawn
    yield "heatmap", f"final {metric.label}", draw_accuracy_map(results, *place)
    for group, who in (("byzantine", "Byzantine"), ("honest", "honest")):
        shows = f"rejected replies of {who} clients (%)"
        yield f"rejected {group}", shows, draw_rejections(results, *place, group)
    shows = "cosine of the model's step and the true gradient"
    yield "cosine", shows, draw_curves(results, *place, "cosine", "cosine with the gradient")
    shows = "inner product of the model's step and the true gradient"
    drawn = draw_curves(
        results, *place, "inner_product", "inner product with the gradient", logarithmic=True
    )
    yield "inner product", shows, drawn
    for rule in grid(results, *place)[0]:
        if rule.startswith("bygars"):
            kind = f"reputations {rule.replace('+', 'p')}"
            shows = f"reputations of {results.shown(experiment, rule)}, first seed"
            yield kind, shows, draw_scores(results, *place, rule)


def _coverage(results: Results, places: Iterable[Place]) -> str:
    """Say how many of the cells have been run."""
    done, cells = results.coverage(places)
    missing = f", {cells - done} not run" if done < cells else ""
    return f"{done} of {cells} cells run{missing}"
