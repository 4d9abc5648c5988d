"""The report: figures, tables and scoreboard of a folder of cells, as Markdown and as HTML."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from simulations.report.blocks import (
    Block,
    Heading,
    Image,
    Link,
    Text,
    anchor,
    render_html,
    render_markdown,
)
from simulations.report.board import cell_blocks, scoreboard_blocks
from simulations.report.claim import load_claims
from simulations.report.drawings import Drawing, save
from simulations.report.evidence import models
from simulations.report.figures import draw_curves
from simulations.report.heatmaps import draw_accuracy_map, draw_rejections
from simulations.report.provenance import deviation_blocks, provenance_blocks
from simulations.report.published import published_blocks
from simulations.report.reputations import draw_scores
from simulations.report.scoreboard import Judged, judge
from simulations.report.scoreboard_picture import scoreboard_picture
from simulations.report.tables import accuracy_table, grid, parts
from simulations.report.view import Place, Results
from simulations.report.views import view_blocks
from simulations.report.worst_case import WORST_CASE
from simulations.sweep.experiment import NAMES, Experiment

PAPERS, STUDY = "The four papers, measured", "This project's own study"
README = "README.md"
HOW_TO_READ = "How to read the figures"  # a heading that all reports have
LEADS = (
    "Each cell is a rule on one kind of data. Its number is the points of accuracy that the rule loses under "
    "the attack that is worst for it, compared with no defence and no attack. In a blue cell the rule loses "
    "less than no defence loses in its own worst case, and in an orange cell it loses more."
)
PICTURE = re.compile(r"^!\[.*\]\(([\w-]+\.(?:png|svg))\)$", re.MULTILINE)
READING = (
    "Tables show means over the seeds with their 95 % percentile bootstrap intervals. For two or three "
    "seeds the interval is their range. `skipped` counts the rounds in which too few replies were "
    "usable, so that the model stayed as it was. Cells of a figure with the same mark, such as =1, hold "
    "the same models, bit for bit, so they are only one piece of evidence. In curves, a thick line is a "
    "mean over the seeds, and each thin line is one seed. A line has a gap where the model is not finite "
    "any more or did not move. Averaging is red. The step of a round is the old model minus the new one, "
    "so its inner product with the true gradient is positive if the model descends (Fall of Empires, "
    "definition 4). Cosines weigh all rounds alike, while inner products shrink with the gradient. "
    "Heatmaps show the points of accuracy that are lost, seed by seed, compared with no defence and no "
    "attack in the same figure. A number below zero means that points are gained. If the figure has no "
    "such cell, the heatmap shows accuracies, and a cell is darker the more points it is below the best "
    "one. A ring marks the worst cell of each rule. In heatmaps of rejected replies, a cell is darker the "
    "more replies were rejected. So a good rule is dark for Byzantine clients and light for honest ones. "
    "The title of each cell has the values of its seeds. A dash stands for a cell that was not run. A "
    "pair of rule and attack that makes no sense has no cell. A client of a coordinate-wise rule counts "
    "as rejected if fewer than half as many of its values were used as of the average client. Skipped "
    "rounds do not count."
)


def write_report(results: Results, out: Path, figure: str = "") -> list[Judged]:
    """Write ``report.html``, ``README.md`` and the figures, and return the judged claims.

    Parameters
    ----------
    results : Results
        What has been measured.
    out : Path
        The folder to write into. It is made if it is missing.
    figure : str (default: "")
        The only figure to report, with the claims about it. Empty: all figures.
    """
    out.mkdir(parents=True, exist_ok=True)
    claims = [claim for claim in load_claims() if figure in ("", claim.figure)]
    judged = judge(claims, results)
    places = [place for place in results.cells if figure in ("", place.figure)]
    covered = _coverage(results, places)
    told: list[Block] = []
    for experiment in results.experiments:
        told += _experiment(results, experiment, out, figure)
    blocks: list[Block] = [
        Heading(_title(results.experiments), 1),
        *_lead(results, judged, told, out),
        Text(f"Profile `{results.profile}`: {covered}."),
        *(scoreboard_blocks(judged, results) if judged else []),
        Heading(HOW_TO_READ),
        Text(READING),
        *told,
    ]
    if not figure:
        blocks += [*deviation_blocks(results), *provenance_blocks(results)]
    blocks += cell_blocks(judged)
    earlier = _pictures(out)
    (out / README).write_text(render_markdown(blocks))
    for name in earlier - {block.name for block in blocks if isinstance(block, Image)}:
        (out / name).unlink(missing_ok=True)
    (out / "report.html").write_text(render_html(blocks, out))
    return judged


def _lead(
    results: Results, judged: Sequence[Judged], told: list[Block], out: Path
) -> Iterator[Block]:
    """Yield the main picture: the worst case of the figure that leads, which is moved here, or the claims."""
    for experiment in results.experiments:
        name = anchor(f"{experiment.name} {experiment.leads} {WORST_CASE}") + ".svg"
        main = next((one for one in told if isinstance(one, Image) and one.name == name), None)
        if experiment.leads and main is not None:
            told[told.index(main)] = Text(
                "The picture of the worst case is at the beginning of this page."
            )
            yield main
            yield Text(LEADS)
            yield Link("The numbers behind the picture", f"{experiment.title}, {experiment.leads}")
            return
    drawn = Drawing("scoreboard", "what became of each paper's claims", scoreboard_picture(judged))
    saved = save(drawn, out / "scoreboard")
    if saved is not None:
        yield Image(saved, drawn.shows)


def _title(experiments: Sequence[Experiment]) -> str:
    """Return the title of a report: the titles of the user's own experiments, if there are any."""
    own = [experiment.title for experiment in experiments if experiment.name not in NAMES]
    if own:
        return "; ".join(own)
    return STUDY if {experiment.group for experiment in experiments} == {"study"} else PAPERS


def _pictures(folder: Path) -> set[str]:
    """Return the names of the pictures that an earlier report wrote into a folder."""
    readme = folder / README
    text = readme.read_text() if readme.exists() else ""
    return set(PICTURE.findall(text)) if f"\n## {HOW_TO_READ}\n" in text else set()


def _experiment(results: Results, experiment: Experiment, out: Path, only: str) -> Iterator[Block]:
    """Yield the part of the report about an experiment, or about one of its figures."""
    figures = {name: own for name, own in experiment.figures.items() if only in ("", name)}
    if not figures:
        return
    yield Heading(experiment.title)
    yield Text(f"{experiment.source}.")
    if not only:
        yield from published_blocks(results, experiment)
        for view in experiment.views:
            yield from _saved(view_blocks(results, experiment.name, view), experiment, "", out)
    for name, figure in figures.items():
        yield Heading(f"{experiment.title}, {name}", 3)
        covered = _coverage(results, results.places(experiment.name, name))
        yield Text(f"{figure.title}: {covered}.")
        for view in figure.views or []:
            blocks = view_blocks(results, experiment.name, view, name)
            yield from _saved(blocks, experiment, name, out)
        curves = experiment.curves if figure.curves is None else figure.curves
        yield from _saved(_usual(results, experiment.name, name, curves), experiment, name, out)


def _saved(
    blocks: Iterable[Block | Drawing], experiment: Experiment, figure: str, out: Path
) -> Iterator[Block]:
    """Write the pictures among some blocks, and put images in their place."""
    for block in blocks:
        if not isinstance(block, Drawing):
            yield block
            continue
        path = out / anchor(f"{experiment.name} {figure} {block.kind}")
        name = save(block, path)
        if name is not None:
            title = ", ".join(filter(None, (experiment.title, figure)))
            yield Image(name, f"{title}: {block.shows}")


def _usual(
    results: Results, experiment: str, figure: str, curves: bool
) -> Iterator[Block | Drawing]:
    """Yield the tables and pictures that every figure has."""
    place = experiment, figure
    metric = results.metric(experiment)
    for part in parts(results, *place):
        yield accuracy_table(results, *place, part)
    if curves:
        drawn = draw_curves(results, *place, metric.name, metric.label, 100)
        yield Drawing("accuracy", f"{metric.label} over rounds", drawn)
    for part in parts(results, *place):
        kind, also = f" {part or ''}".rstrip(), f", {part}" if part else ""
        drawn_map = draw_accuracy_map(results, *place, part)
        yield Drawing(f"heatmap{kind}", f"final {metric.label}{also}", drawn_map)
        for group, who in (("byzantine", "Byzantine"), ("honest", "honest")):
            shows = f"rejected replies of {who} clients (%){also}"
            drawn_map = draw_rejections(results, *place, group, part)
            yield Drawing(f"rejected {group}{kind}", shows, drawn_map)
    if not curves:
        return
    shows = "cosine of the model's step and the true gradient"
    yield Drawing("cosine", shows, draw_curves(results, *place, "cosine", "cosine with gradient"))
    shows = "inner product of the model's step and the true gradient"
    drawn = draw_curves(results, *place, "inner_product", "inner product", logarithmic=True)
    yield Drawing("inner product", shows, drawn)
    for rule in grid(results, *place)[0]:
        if rule.startswith("bygars"):
            kind = f"reputations {rule.replace('+', 'p')}"
            shows = f"reputations of {results.shown(experiment, rule)}"
            yield Drawing(kind, shows, draw_scores(results, *place, rule))


def _coverage(results: Results, places: Iterable[Place]) -> str:
    """Say how many of the cells have been run, and how many different models they hold."""
    found = results.runs_by_key(places).values()
    done = sum(run is not None for run in found)
    missing = f", {len(found) - done} not run" if done < len(found) else ""
    different = len(models(found))
    shared = f", {different} different models" if 0 < different < done else ""
    return f"{done} of {len(found)} cells run{missing}{shared}"
