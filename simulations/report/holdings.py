"""A picture of who has which samples: clients across, classes down, larger squares for more samples."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import sqrt
from typing import NamedTuple

import numpy as np

from flwr_byzantine.lab.page.colours import LINES_LIGHT
from flwr_byzantine.lab.page.text import escape
from simulations.catalog import datasets
from simulations.catalog.placement import byzantine_clients
from simulations.config import RunConfig

# Pixels: for the names of rows, above the squares, and for the bars below them.
LEFT, TOP, BAR = 92, 42, 46
WIDEST, WIDE, NARROW = 24, 960, 7  # pixels: the widest column, all columns, the narrowest column
MARKS = 25  # if there are more columns, only some are numbered
HONEST, BYZANTINE = LINES_LIGHT[0], LINES_LIGHT[1]
STYLE = (
    "text{font:12px system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif;"
    "fill:#1c2024}.soft{fill:#59616b;font-size:11px}.line{stroke:#1c2024;stroke-opacity:.12}"
)


class Frame(NamedTuple):
    """Where squares are, in pixels: their corner, the sizes of a client and a class, the bars' height."""

    left: float
    top: float
    side: float
    row: float
    bar: float

    def middle(self, client: int) -> float:
        """Where the middle of a client's column is."""
        return self.left + self.side * (client + 0.5)


def counts_of(config: RunConfig) -> np.ndarray:
    """Return how many samples of each class each client of a run has, shape (classes, clients)."""
    labels = datasets.load(config.dataset, config.data_dir)[0].y.numpy()
    many = int(labels.max()) + 1
    held = [np.bincount(labels[share], minlength=many) for share in config.shares()]
    return np.array(held).T


def byzantine_of(config: RunConfig) -> set[int]:
    """Return the Byzantine clients of a run. The set is empty if each round draws them anew."""
    many = 0 if config.redraw else config.byzantine
    return set(byzantine_clients(config.clients, many, config.seed, config.placement))


def draw_holdings(config: RunConfig) -> str:
    """Return a picture of who has which samples in a run, as an SVG that stands alone."""
    dealt = "shared by all" if config.partition_among == "all" else "shared by the honest clients"
    used = sorted(config.dealing.parameters)
    values = "".join(f", {name.replace('_', ' ')} {getattr(config, name):g}" for name in used)
    title = f"{config.dataset}, {config.partition}{values}; {dealt}, seed {config.seed}"
    return drawing(title, counts_of(config), byzantine_of(config))


def drawing(title: str, counts: np.ndarray, byzantine: Collection[int] = ()) -> str:
    """Draw counts as squares, and below them a bar for all samples of each client.

    Parameters
    ----------
    title : str
        What it shows.
    counts : np.ndarray
        Samples, shape (classes, clients).
    byzantine : collection of int
        The clients that are drawn in another colour.
    """
    classes, clients = counts.shape
    side = max(NARROW, min(WIDEST, WIDE / clients))
    totals, most = counts.sum(axis=0), max(1, int(counts.max()))
    bottom = TOP + WIDEST * classes
    body = [f'<text x="10" y="18" font-weight="650">{escape(title)}</text>']
    for label in range(classes):
        middle = TOP + WIDEST * (label + 0.5)
        body.append(
            f'<text class="soft" x="{LEFT - 8}" y="{middle + 4:.1f}" text-anchor="end">class {label}</text>'
            f'<line class="line" x1="{LEFT}" x2="{LEFT + side * clients:.1f}" '
            f'y1="{middle:.1f}" y2="{middle:.1f}"/>'
        )
    frame = Frame(LEFT, TOP, side, WIDEST, BAR)
    for client in range(clients):
        is_byzantine = client in byzantine
        body += squares(frame, client, counts[:, client], most, is_byzantine)
        body += bar(frame, client, totals[client], totals.max(), bottom + BAR, is_byzantine)
        if client % every(clients) == 0:
            body.append(
                f'<text class="soft" x="{LEFT + side * (client + 0.5):.1f}" y="{bottom + BAR + 15}" '
                f'text-anchor="middle">{client}</text>'
            )
    body.append(
        f'<text class="soft" x="{LEFT - 8}" y="{bottom + BAR - 4}" text-anchor="end">all samples</text>'
        f'<text class="soft" x="{LEFT - 8}" y="{bottom + BAR + 15}" text-anchor="end">client</text>'
    )
    said = f"The largest square stands for {most} samples, the highest bar for {totals.max()}."
    if byzantine:
        said += f" Byzantine clients, in the other colour: {listed(sorted(byzantine))}."
    body.append(f'<text class="soft" x="10" y="{bottom + BAR + 38}">{said}</text>')
    width = max(LEFT + side * clients, 7.2 * len(title), 6.2 * len(said)) + 20
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{width:.0f}" '
        f'height="{bottom + BAR + 50}" viewBox="0 0 {width:.0f} {bottom + BAR + 50}">'
        f"<title>{escape(title)}</title><desc>{said}</desc><style>{STYLE}</style>"
        f'<rect width="100%" height="100%" fill="#ffffff"/>{"".join(body)}</svg>\n'
    )


def squares(
    frame: Frame, client: int, held: np.ndarray, most: int, is_byzantine: bool
) -> list[str]:
    """The squares of a client; the largest stands for the most samples."""
    parts = []
    for label, count in enumerate(held):
        if count:
            wide = max(1.0, (min(frame.side, frame.row) - 2) * sqrt(count / most))
            x = frame.middle(client) - wide / 2
            y = frame.top + frame.row * (label + 0.5) - wide / 2
            parts.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{wide:.1f}" '
                f'fill="{BYZANTINE if is_byzantine else HONEST}">'
                f"<title>client {client}, class {label}: {count} samples</title></rect>"
            )
    return parts


def bar(
    frame: Frame, client: int, total: int, most: int, base: float, is_byzantine: bool
) -> list[str]:
    """The bar for all samples of a client, upwards from a base."""
    high = (frame.bar - 8) * total / max(1, most)
    x = frame.left + frame.side * client + 1
    return [
        f'<rect x="{x:.1f}" y="{base - high:.1f}" '
        f'width="{max(1, frame.side - 2):.1f}" height="{high:.1f}" '
        f'fill="{BYZANTINE if is_byzantine else HONEST}" fill-opacity=".55">'
        f"<title>client {client}: {total} samples</title></rect>"
    ]


def every(clients: int) -> int:
    """Return the distance from one numbered client to the next."""
    return 1 if clients <= MARKS else 10 if clients > 2 * MARKS else 5


def listed(numbers: Sequence[int]) -> str:
    """Write numbers in words. Of consecutive numbers, write the first and the last.

    Examples
    --------
    >>> listed([0, 1, 2, 5, 7, 8])
    '0 to 2, 5, 7, 8'
    """
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(
        f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs
    )
