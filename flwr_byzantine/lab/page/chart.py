"""The chart of one attack: a curve for each rule, with the rule's name at the end of the curve."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from flwr_byzantine.lab.page.colours import LINES_LIGHT
from flwr_byzantine.lab.page.data import APP, NONE, Cell, Findings
from flwr_byzantine.lab.page.scale import Scale, spread
from flwr_byzantine.lab.page.text import DIVERGES, characters, escape, listed, shortened, value

WIDTH, LEAST = 400, 190  # the width of a chart, and the least height of its plot
LEFT, TOP, BELOW = 40, 14, 40
LINE = 15  # from label to label
LETTER = 7.7  # the width of a character of 12.5 pixels, with some room
NAME = 14  # characters of a rule's name
# Marks and dashes tell the lines apart where colours do not.
MARKS = (
    "M-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0-7 0z",
    "M-3.2-3.2h6.4v6.4h-6.4z",
    "M0-4.4L4 3H-4z",
    "M0-4.6L4.6 0 0 4.6-4.6 0z",
    "M0 4.4L4-3H-4z",
    "M-3.4-3.4L3.4 3.4M-3.4 3.4L3.4-3.4",
    "M0-4.4V4.4M-4.4 0H4.4",
)
DASHES = ("", "7 3", "2 3", "9 3 2 3", "4 2")


@dataclass(frozen=True)
class Line:
    """A rule's curve as it is drawn.

    Parameters
    ----------
    cell : Cell
        What became of the rule.
    points : list[tuple[float, float]]
        The finite points, in order.
    look : int
        Which colour, mark and dashes.
    """

    cell: Cell
    points: list[tuple[float, float]]
    look: int

    @property
    def style(self) -> str:
        """The attributes of the curve's strokes."""
        dashes = "" if self.cell.rule == APP else DASHES[self.look % len(DASHES)]
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        return f'class="line {self.colour}"{dashed}'

    @property
    def colour(self) -> str:
        """The CSS class that gives the curve its colour."""
        return "app" if self.cell.rule == APP else f"c{self.look % len(LINES_LIGHT)}"

    @property
    def end(self) -> str:
        """The last value of the curve, as text."""
        last = self.cell.curve[-1][1]
        return value(last) if math.isfinite(last) else DIVERGES

    @property
    def label(self) -> str:
        """The rule's name and the curve's last value."""
        return f"{shortened(self.cell.rule, NAME)} {self.end}"

    def band(self) -> list[tuple[float, float, float]]:
        """Each round with the least and the most of the seeds, where the values of all seeds are finite."""
        if len(self.cell.curves) < 2:
            return []
        seen: dict[float, list[float]] = {}
        for curve in self.cell.curves:
            for server_round, number in curve:
                seen.setdefault(server_round, []).append(number)
        return [
            (r, min(found), max(found))
            for r, found in sorted(seen.items())
            if len(found) == len(self.cell.curves) and all(map(math.isfinite, found))
        ]


def scales(findings: Findings) -> tuple[Scale, Scale]:
    """The axes of rounds and of values. All charts share them, so that readers can compare the charts."""
    rounds = [r for cell in findings.cells.values() for r, _ in cell.curve]
    return Scale.whole(rounds), Scale.of(findings.values)


def labels_width(findings: Findings) -> float:
    """The room that the longest label of all charts needs. Bold labels are wider."""
    found = [22 + 6 * LETTER]
    for cell in findings.cells.values():
        if cell.curve:
            wider = 1.13 if is_bold(findings, cell.rule) else 1.0
            found.append(22 + wider * LETTER * characters(Line(cell, [], 0).label))
    return max(found)


def is_bold(findings: Findings, rule: str) -> bool:
    """Whether a label is bold, as those of the app itself and of the recommended rule are."""
    return rule in (APP, findings.recommended)


def chart(findings: Findings, attack: str, number: int) -> str:
    """The figure that shows an attack.

    Parameters
    ----------
    findings : Findings
        The whole result.
    attack : str
        The name of the attack.
    number : int
        The number of the chart on its page, which makes its ids unique.
    """
    looks = {rule: i for i, rule in enumerate(r for r in findings.rules if r != APP)}
    lines, without = [], []
    for rule in findings.rules:
        cell = findings.cell(rule, attack)
        points = [(r, v) for r, v in cell.curve if math.isfinite(v)]
        if points:
            lines.append(Line(cell, points, looks.get(rule, 0)))
        else:
            without.append(rule)
    title = "Without an attack" if attack == NONE else f"Under {attack}"
    note = f'<p class="soft">No curve: {escape(listed(without))}.</p>' if without else ""
    drawn = _svg(findings, lines, title, number) if lines else ""
    return f"<figure><h3>{escape(title)}</h3>{drawn}{note}</figure>"


def _svg(findings: Findings, lines: Sequence[Line], title: str, number: int) -> str:
    across, up = scales(findings)
    high = max(LEAST, LINE * max(len(findings.rules), len(lines)))
    right = WIDTH - labels_width(findings)

    def x(server_round: float) -> float:
        return LEFT + (right - LEFT) * across.place(server_round)

    def y(number: float) -> float:
        return TOP + high * (1 - up.place(number))

    parts = [
        f'<path class="rule" d="M{LEFT} {y(tick):.1f}H{right:.1f}"/>'
        f'<text class="tick" x="{LEFT - 7}" y="{y(tick) + 4:.1f}" text-anchor="end">{shown}</text>'
        for tick, shown in up.ticks()
    ]
    parts += [
        f'<text class="tick" x="{x(tick):.1f}" y="{TOP + high + 18}" text-anchor="middle">{shown}</text>'
        for tick, shown in across.ticks()
    ]
    parts.append(
        f'<text class="tick" x="{(LEFT + right) / 2:.1f}" y="{TOP + high + 34}" '
        f'text-anchor="middle">round</text>'
    )
    clean = findings.cell(APP, NONE).final
    if clean is not None and math.isfinite(clean):
        parts.append(f'<path class="clean" d="M{LEFT} {y(clean):.1f}H{right:.1f}"/>')
    for line in lines:
        if band := line.band():
            edge = [(x(r), y(most)) for r, _, most in band]
            edge += [(x(r), y(low)) for r, low, _ in reversed(band)]
            path = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in edge) + "Z"
            parts.append(f'<path class="band {line.colour}" d="{path}"/>')
    ends = spread([y(line.points[-1][1]) for line in lines], LINE, TOP, TOP + high)
    for line, end in sorted(
        zip(lines, ends, strict=True), key=lambda pair: pair[0].cell.rule == APP
    ):
        bold = is_bold(findings, line.cell.rule)
        parts.append(_drawn(line, [(x(r), y(v)) for r, v in line.points], right, end, bold))
    said = "; ".join(
        f"{line.cell.rule} {'' if line.end == DIVERGES else 'ends at '}{line.end}" for line in lines
    )
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {TOP + high + BELOW}" role="img" '
        f'aria-labelledby="chart{number}t chart{number}d">'
        f'<title id="chart{number}t">{escape(findings.metric)} after each round. {escape(title)}</title>'
        f'<desc id="chart{number}d">{escape(said)}.</desc>{"".join(parts)}</svg>'
    )


def _drawn(
    line: Line, places: list[tuple[float, float]], right: float, end: float, bold: bool
) -> str:
    """A curve with its marks, its label, and a thin line between curve and label."""
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    broke = not math.isfinite(line.cell.curve[-1][1])
    every = max(1, len(places) // 8)
    mark = MARKS[line.look % len(MARKS)]
    colour = line.colour
    filled = "" if line.cell.rule == APP else " mark"
    marks = "".join(
        f'<path class="{colour}{filled}" d="{mark}" transform="translate({x:.1f} {y:.1f})"/>'
        for x, y in places[len(places) - 1 :: -every]
        if filled
    )
    if broke:
        x, y = places[-1]
        marks += (
            f'<path class="line {colour}" d="{MARKS[5]}" transform="translate({x:.1f} {y:.1f})"/>'
        )
    x, y = places[-1]
    thread = f"thread {colour} broke" if broke else f"thread {colour}"
    return (
        f"<g><title>{escape(line.cell.rule)}</title>"
        f'<path {line.style} d="{path}"/>{marks}'
        f'<path class="{thread}" d="M{x + 5:.1f} {y:.1f}L{right + 14:.1f} {end:.1f}"/>'
        f'<text class="{"strong" if bold else "name"}" x="{right + 18:.1f}" '
        f'y="{end + 4:.1f}">{escape(line.label)}</text></g>'
    )
