"""Who has which samples in an experiment: a panel for each way in which its data are dealt out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from flwr_byzantine.lab.page.text import escape
from simulations.catalog import datasets
from simulations.config import RunConfig
from simulations.report.drawings import Drawing
from simulations.report.holdings import STYLE, Frame, bar, byzantine_of, counts_of, listed, squares
from simulations.report.names import written
from simulations.report.pool import data_of
from simulations.report.view import Results

WIDE, ACROSS = 700, 2  # pixels of the picture, and panels in a row
LEFT, TITLE, ROW, BAR, NUMBERS, GAP = 50, 30, 14, 34, 18, 14
EVERY = 5  # from one numbered client to the next


def holdings_drawings(
    results: Results, experiment: str, figure: str | None = None
) -> Iterator[Drawing]:
    """Yield a picture of who has what with the first seed, for data that need no download and were used."""
    found: dict[str, RunConfig] = {}
    for place in results.places(experiment, figure):
        config = results.configs[place]
        known = datasets.DATASETS.get(config.dataset)  # None: the user's own
        if results.runs(place) and known is not None and known.is_shipped:
            title = written(f"{data_of(place)} ({config.partition})")
            if title not in found or config.byzantine > found[title].byzantine:
                found[title] = config
    if found:
        shows = "samples of each class that each client has, in the first seed"
        yield Drawing("who has what", shows, draw_panels(found))


def draw_panels(configs: Mapping[str, RunConfig]) -> str:
    """Return an SVG with a panel for each run. The squares of all panels have one scale."""
    counts = {title: counts_of(config) for title, config in configs.items()}
    most = max(int(own.max()) for own in counts.values())
    total = max(int(own.sum(axis=0).max()) for own in counts.values())
    classes = max(len(own) for own in counts.values())
    step = TITLE + ROW * classes + BAR + NUMBERS + GAP
    body = []
    for number, (title, config) in enumerate(configs.items()):
        down, across = divmod(number, ACROSS)
        frame = Frame(
            LEFT + WIDE / ACROSS * across,
            TITLE + step * down,
            (WIDE / ACROSS - LEFT - GAP) / config.clients,
            ROW,
            BAR,
        )
        body += _panel(frame, title, counts[title], most, total, byzantine_of(config))
    attackers = {
        listed(sorted(own)) for config in configs.values() if (own := byzantine_of(config))
    }
    said = f"The largest square is {most} samples, the highest bar {total}."
    if attackers:
        said += f" In the other colour: Byzantine clients ({'; '.join(sorted(attackers))})."
    high = step * -(-len(configs) // ACROSS) + 24
    body.append(f'<text class="soft" x="10" y="{high - 10}">{said}</text>')
    style = "".join(f".who {rule}}}" for rule in STYLE.split("}") if rule)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="who" role="img" width="{WIDE}" height="{high}" '
        f'viewBox="0 0 {WIDE} {high}" style="--wide:{WIDE}px"><title>Who has what</title>'
        f"<desc>{said}</desc><style>{style}</style>"
        f'<rect width="100%" height="100%" fill="#ffffff"/>{"".join(body)}</svg>\n'
    )


def _panel(
    frame: Frame, title: str, counts: np.ndarray, most: int, total: int, byzantine: set[int]
) -> list[str]:
    """A panel: classes down, clients across, and a bar for all samples of each."""
    classes, clients = counts.shape
    bottom = frame.top + frame.row * classes
    base, end = bottom + frame.bar, frame.left + frame.side * clients
    parts = [
        f'<text x="{frame.left:.0f}" y="{frame.top - 10:.0f}" font-weight="700">{escape(title)}</text>',
        f'<text class="soft" x="{frame.left - 8:.0f}" y="{base + 14:.0f}" text-anchor="end">client</text>',
        f'<text class="soft" x="{frame.left - 8:.0f}" y="{base - 4:.0f}" text-anchor="end">all</text>',
    ]
    for label in range(classes):
        y = frame.top + frame.row * (label + 0.5)
        name = f"class {label}" if label == 0 else f"{label}"
        parts.append(
            f'<text class="soft" x="{frame.left - 8:.0f}" y="{y + 4:.1f}" text-anchor="end">{name}</text>'
            f'<line class="line" x1="{frame.left:.1f}" x2="{end:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
    totals = counts.sum(axis=0)
    for client in range(clients):
        is_byzantine = client in byzantine
        parts += squares(frame, client, counts[:, client], most, is_byzantine)
        parts += bar(frame, client, totals[client], total, base, is_byzantine)
        if client % EVERY == 0:
            parts.append(
                f'<text class="soft" x="{frame.middle(client):.1f}" y="{base + 14:.0f}" '
                f'text-anchor="middle">{client}</text>'
            )
    return parts
