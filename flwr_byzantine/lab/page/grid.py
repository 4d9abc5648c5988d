"""A grid of coloured cells, as an SVG that needs no other file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from flwr_byzantine.lab.page.colours import LIGHT, on
from flwr_byzantine.lab.page.text import characters, escape, shortened

HIGH, GAP = 42, 3  # the height of a row, and the gap between cells
NARROW, WIDE = 68, 96  # the width of a column where there are many, and where there are few
FEW = 8  # how many columns may be wide
LETTER = 7.4  # the width of a character of 13 pixels, with some room
SWATCH = 42  # the width of a step of the colour bar
LONGEST, LONGEST_HEAD = 30, 24  # the longest names, in characters
TALL = 600  # pixels of rows; above a grid this tall stands what its colours mean, and else below it

STYLE = (
    "text{font:13px system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif;"
    "fill:#1c2024;fill:var(--ink,#1c2024)}"
    ".paper{fill:#ffffff;fill:var(--card,#ffffff)}"
    ".soft{fill:#59616b;fill:var(--soft,#59616b)}.small{font-size:11px}.strong{font-weight:650}"
    ".number{font-size:15px;font-weight:600;font-variant-numeric:tabular-nums}"
    ".word{font-size:12.5px;font-weight:600}"
    ".ring{fill:none;stroke-width:2}"
    ".failed{fill:none;stroke:#59616b;stroke:var(--soft,#59616b);stroke-dasharray:4 3}"
    ".edge{stroke:#1c2024;stroke:var(--ink,#1c2024);stroke-opacity:.16}"
)


@dataclass(frozen=True)
class Square:
    """A cell.

    Parameters
    ----------
    shown : str
        The text in the cell.
    step : int or None
        The number of its colour; None if the cell has no number.
    words : str
        A full description of the cell, in one line.
    below : str
        Small text below the other.
    is_marked : bool
        Whether the cell has a ring.
    data : dict[str, str]
        Attributes by which scripts find the cell.
    """

    shown: str
    step: int | None
    words: str
    below: str = ""
    is_marked: bool = False
    data: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """A row.

    Parameters
    ----------
    name : str
        The name of the row.
    squares : Sequence[Square or None]
        One cell for each column; None where there is nothing to show.
    note : str
        Small text below the name.
    is_strong : bool
        Whether the name is bold.
    """

    name: str
    squares: Sequence[Square | None]
    note: str = ""
    is_strong: bool = False


@dataclass(frozen=True)
class Key:
    """What colours and marks mean.

    Parameters
    ----------
    title : str
        The quantity that the colours show.
    limits : Sequence[float]
        The numbers between two neighbouring colours.
    marked, missing : str
        What a ring means, and what a cell without a colour means; empty if the grid has none.
    steps : Sequence[str]
        The colours, one more than ``limits``. Only the colours of the page change on a dark screen.
    """

    title: str
    limits: Sequence[float]
    marked: str = ""
    missing: str = ""
    steps: Sequence[str] = LIGHT


def drawing(
    title: str, said: str, columns: Sequence[str], rows: Sequence[Row], key: Key, high: int = HIGH
) -> str:
    """The grid as an SVG.

    Parameters
    ----------
    title, said : str
        What the grid is, and what it says, for people who do not see it.
    columns : Sequence[str]
        The names of the columns.
    rows : Sequence[Row]
        The rows with their cells.
    key : Key
        What the colours mean.
    high : int
        The height of a row in pixels.
    """
    heads = [shortened(name, LONGEST_HEAD) for name in columns]
    names = [(shortened(row.name, LONGEST), row.is_strong) for row in rows]
    widths = [LETTER * (1.1 if bold else 1) * characters(name) for name, bold in names]
    left = 16 + max([*widths, 13 * LETTER])
    widest = LETTER * max([characters(name) for name in heads] + [1.0]) + 10
    column = WIDE if len(heads) <= FEW else NARROW
    slanted = widest > column
    explained = 90 + (22 if key.marked or key.missing else 0)  # the height of the key
    is_tall = high * len(rows) > TALL
    top = 20 + (0.62 * widest if slanted else 14) + (explained if is_tall else 0)
    bottom = top + high * len(rows)
    beyond = 0.8 * widest - column / 2 if slanted else 0
    below = max(SWATCH * len(key.steps), 1.1 * LETTER * characters(key.title))
    width = max(left + column * len(heads) + beyond, 20 + below) + 10
    body = _heads(heads, left, column, top, slanted)
    for i, row in enumerate(rows):
        y = top + high * i
        body += _name(row, left, y, high)
        body += [
            _square(square, left + column * k, y, column, high)
            for k, square in enumerate(row.squares)
            if square is not None
        ]
    body += _key(key, 10 if is_tall else bottom + 18)
    if not rows:
        body.append(f'<text class="soft" x="10" y="{top - 6:.0f}">There is nothing to show.</text>')
    height = bottom + (14 if is_tall else explained)
    return _framed(title, said, width, height, "".join(body), key.steps)


def _framed(
    title: str, said: str, width: float, height: float, body: str, steps: Sequence[str]
) -> str:
    """The drawing with its title and description. Its ids and classes are its own."""
    mark = "hm" + sha256((title + body).encode()).hexdigest()[:8]
    style = "".join(f".{mark} {rule}}}" for rule in (STYLE + _steps(steps)).split("}") if rule)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="{mark}" role="img" '
        f'aria-labelledby="{mark}t {mark}d" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" style="--wide:{width:.0f}px">'
        f'<title id="{mark}t">{escape(title)}</title><desc id="{mark}d">{escape(said)}</desc>'
        f"<style>{style}</style>"
        f'<rect class="paper" width="100%" height="100%"/>{body}</svg>'
    )


def _steps(steps: Sequence[str]) -> str:
    """The colours of the steps, and of the text on them."""
    if steps != LIGHT:
        return "".join(
            f".s{i}{{fill:{colour}}}.t{i}{{fill:{on(colour)}}}.r{i}{{stroke:{on(colour)}}}"
            for i, colour in enumerate(steps)
        )
    return "".join(
        f".s{i}{{fill:{colour};fill:var(--s{i},{colour})}}"
        f".t{i}{{fill:{on(colour)};fill:var(--t{i},{on(colour)})}}"
        f".r{i}{{stroke:{on(colour)};stroke:var(--t{i},{on(colour)})}}"
        for i, colour in enumerate(LIGHT)
    )


def _heads(shown: list[str], left: float, column: float, top: float, slanted: bool) -> list[str]:
    heads = []
    for i, name in enumerate(shown):
        x = left + column * (i + 0.5)
        place = (
            f'text-anchor="start" transform="translate({x - 6:.1f} {top - 8:.1f}) rotate(-38)"'
            if slanted
            else f'text-anchor="middle" x="{x:.1f}" y="{top - 10:.1f}"'
        )
        heads.append(f"<text {place}>{escape(name)}</text>")
    return heads


def _name(row: Row, left: float, y: float, high: int) -> list[str]:
    middle = y + high / 2
    strong = ' class="strong"' if row.is_strong else ""
    parts = [
        f'<text{strong} x="{left - 10:.1f}" y="{middle + (-2 if row.note else 4.5):.1f}" '
        f'text-anchor="end">{escape(shortened(row.name, LONGEST))}</text>'
    ]
    if row.note:
        parts.append(
            f'<text class="soft small" x="{left - 10:.1f}" y="{middle + 12:.1f}" '
            f'text-anchor="end">{escape(row.note)}</text>'
        )
    return parts


def _square(square: Square, x: float, y: float, column: float, high: int) -> str:
    """A cell: its colour and number, or a sign that it has none."""
    box = (
        f'x="{x + GAP / 2:.1f}" y="{y + GAP / 2:.1f}" width="{column - GAP:.1f}" '
        f'height="{high - GAP}" rx="4"'
    )
    middle = y + high / 2 + 5
    centre = f'x="{x + column / 2:.1f}" text-anchor="middle"'
    shown = escape(square.shown)
    if square.step is None:
        inside = f'<rect class="failed" {box}/><text class="soft" {centre} y="{middle:.1f}">{shown}</text>'
    else:
        inside = f'<rect class="s{square.step} edge" {box}/>'
        if square.is_marked:
            inside += (
                f'<rect class="ring r{square.step}" x="{x + GAP / 2 + 3:.1f}" '
                f'y="{y + GAP / 2 + 3:.1f}" width="{column - GAP - 6:.1f}" '
                f'height="{high - GAP - 6}" rx="2"/>'
            )
        kind = "number" if square.shown[-1:].isdigit() else "word"
        up = 6 if square.below else 0
        inside += (
            f'<text class="{kind} t{square.step}" {centre} y="{middle - up:.1f}">{shown}</text>'
        )
        if square.below:
            inside += (
                f'<text class="small t{square.step}" {centre} y="{middle + 8:.1f}">'
                f"{escape(square.below)}</text>"
            )
    data = "".join(f' data-{name}="{escape(value)}"' for name, value in square.data.items())
    return f"<g{data}><title>{escape(square.words)}</title>{inside}</g>"


def _key(key: Key, y: float) -> list[str]:
    """The colour bar, and what the marks mean."""
    parts = [f'<text class="strong" x="10" y="{y + 12:.1f}">{escape(key.title)}</text>']
    for i in range(len(key.steps)):
        x = 10.0 + SWATCH * i
        parts.append(
            f'<rect class="s{i} edge" x="{x:.0f}" y="{y + 22:.1f}" width="{SWATCH}" height="14"/>'
        )
        if i:
            parts.append(
                f'<text class="soft small" x="{x:.0f}" y="{y + 50:.1f}" text-anchor="middle">'
                f"{key.limits[i - 1]:g}</text>"
            )
    x = 11.0
    for kind, style, meaning in (
        ("ring edge", ' style="stroke-opacity:1"', key.marked),
        ("failed", "", key.missing),
    ):
        if meaning:
            parts.append(
                f'<rect class="{kind}"{style} x="{x:.1f}" y="{y + 64:.1f}" width="16" height="14" '
                f'rx="2"/><text class="soft small" x="{x + 23:.1f}" y="{y + 75:.1f}">'
                f"{escape(meaning)}</text>"
            )
            x += 23 + 6.6 * len(meaning) + 18
    return parts
