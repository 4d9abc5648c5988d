"""The heatmap of rules and attacks, as an SVG that stands alone."""

from __future__ import annotations

from hashlib import sha256

from flwr_byzantine.lab.page.colours import LIGHT, LIMITS, on, step
from flwr_byzantine.lab.page.data import APP, NONE, Cell, Findings, Result, read
from flwr_byzantine.lab.page.text import characters, escape, points, shortened, value

HIGH, GAP = 42, 3  # of a row, and between cells
NARROW, WIDE = 68, 96  # columns: those of many attacks, and those of few
LETTER = 7.4  # the width of a character of 13 pixels, with some room
SWATCH = 42  # the width of a step of the colour bar

STYLE = (
    "text{font:13px system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif;"
    "fill:#1c2024;fill:var(--ink,#1c2024)}"
    ".paper{fill:#ffffff;fill:var(--card,#ffffff)}"
    ".soft{fill:#59616b;fill:var(--soft,#59616b)}.small{font-size:11px}.strong{font-weight:650}"
    ".number{font-size:15px;font-weight:600;font-variant-numeric:tabular-nums}"
    ".ring{fill:none;stroke-width:2}"
    ".failed{fill:none;stroke:#59616b;stroke:var(--soft,#59616b);stroke-dasharray:4 3}"
    ".edge{stroke:#1c2024;stroke:var(--ink,#1c2024);stroke-opacity:.16}"
)


def heatmap_svg(result: Result) -> str:
    """The heatmap of points lost: rules down, attacks across.

    Parameters
    ----------
    result : Mapping[str, Any]
        As ``stress.json`` holds it; any part may be missing.
    """
    return draw(read(result))


def draw(findings: Findings) -> str:
    """The heatmap of a result that was read."""
    rules, attacks = findings.rules, findings.attacks
    shown = [shortened("no attack" if name == NONE else name, 24) for name in attacks]
    left = 16 + LETTER * max([characters(shortened(rule, 28)) for rule in rules] + [13.0])
    left += 0.7 * characters(shortened(findings.recommended or "", 28))  # which is bold
    widest = LETTER * max([characters(name) for name in shown] + [1.0]) + 10
    column = WIDE if len(attacks) <= 8 else NARROW
    slanted = widest > column
    top = 20 + (0.62 * widest if slanted else 14)
    bottom = top + HIGH * len(rules)
    beyond = 0.8 * widest - column / 2 if slanted else 0
    width = max(left + column * len(attacks) + beyond, 20 + SWATCH * len(LIGHT)) + 10
    body = [
        *_heads(shown, left, column, top, slanted),
        *(
            part
            for row, rule in enumerate(rules)
            for part in _row(findings, rule, left, column, top + HIGH * row)
        ),
        *_key(findings, bottom + 18),
    ]
    if not findings.cells:
        body.append(f'<text class="soft" x="10" y="{top - 6:.0f}">No run came to an end.</text>')
    return _framed(findings, width, bottom + 112, "".join(body))


def _framed(findings: Findings, width: float, height: float, body: str) -> str:
    """The drawing with its names, under ids and classes that are its own."""
    mark = "hm" + sha256(body.encode()).hexdigest()[:8]
    style = "".join(f".{mark} {rule}}}" for rule in (STYLE + _steps()).split("}") if rule)
    about = f"Points of {findings.metric} lost by each rule under each attack"
    said = "; ".join(
        f"{rule} loses most under {worst.attack}: {worst.loss_in_words}"
        for rule in findings.rules
        if (worst := findings.worst(rule)) is not None
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="{mark}" role="img" '
        f'aria-labelledby="{mark}t {mark}d" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" style="--wide:{width:.0f}px">'
        f'<title id="{mark}t">{escape(about)}</title><desc id="{mark}d">{escape(said)}.</desc>'
        f"<style>{style}</style>"
        f'<rect class="paper" width="100%" height="100%"/>{body}</svg>'
    )


def _steps() -> str:
    """The colours of the steps, and of what is written on them."""
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


def _row(findings: Findings, rule: str, left: float, column: float, y: float) -> list[str]:
    """A rule's name and its cells."""
    chosen = rule == findings.recommended
    middle = y + HIGH / 2
    note = "recommended" if chosen else "your app as it is" if rule == APP else ""
    strong = ' class="strong"' if chosen else ""
    parts = [
        f'<text{strong} x="{left - 10:.1f}" y="{middle + (-2 if note else 4.5):.1f}" text-anchor="end">'
        f"{escape(shortened(rule, 28))}</text>"
    ]
    if note:
        parts.append(
            f'<text class="soft small" x="{left - 10:.1f}" y="{middle + 12:.1f}" '
            f'text-anchor="end">{note}</text>'
        )
    worst = findings.worst(rule) if len(findings.attacks) > 1 else None
    for i, attack in enumerate(findings.attacks):
        cell = findings.cell(rule, attack)
        parts.append(_cell(cell, left + column * i, y, column, worst is cell))
    return parts


def _cell(cell: Cell, x: float, y: float, column: float, is_worst: bool) -> str:
    """A cell: its colour and its number, or that there is none."""
    box = (
        f'x="{x + GAP / 2:.1f}" y="{y + GAP / 2:.1f}" width="{column - GAP:.1f}" '
        f'height="{HIGH - GAP}" rx="4"'
    )
    at = f'x="{x + column / 2:.1f}" y="{y + HIGH / 2 + 5:.1f}" text-anchor="middle"'
    loss = cell.loss
    shown = cell.loss_in_words
    if loss is None:
        inside = f'<rect class="failed" {box}/><text class="soft" {at}>{shown}</text>'
    else:
        i = step(loss)
        inside = f'<rect class="s{i} edge" {box}/>'
        if is_worst:
            inside += (
                f'<rect class="ring r{i}" x="{x + GAP / 2 + 3:.1f}" y="{y + GAP / 2 + 3:.1f}" '
                f'width="{column - GAP - 6:.1f}" height="{HIGH - GAP - 6}" rx="2"/>'
            )
        inside += f'<text class="number t{i}" {at}>{shown}</text>'
    return (
        f'<g data-rule="{escape(cell.rule)}" data-attack="{escape(cell.attack)}">'
        f"<title>{escape(in_words(cell, is_worst))}</title>{inside}</g>"
    )


def in_words(cell: Cell, is_worst: bool = False) -> str:
    """What a cell says, in a line."""
    name = f"{cell.rule}, {'no attack' if cell.attack == NONE else cell.attack}"
    if cell.error is not None:
        return f"{name}: the run failed. {cell.error}"
    if cell.loss is None:
        return f"{name}: no number"
    ending = ", the worst of this rule" if is_worst else ""
    if cell.is_broken:
        return f"{name}: the model broke and ends as {value(cell.final)}{ending}"
    return f"{name}: {points(cell.loss)} points lost, ends at {value(cell.final)}{ending}"


def _key(findings: Findings, y: float) -> list[str]:
    """The colour bar, and what the marks mean."""
    parts = [f'<text class="strong" x="1" y="{y + 12:.1f}">Points lost</text>']
    for i in range(len(LIGHT)):
        x = 1.0 + SWATCH * i
        parts.append(
            f'<rect class="s{i} edge" x="{x:.0f}" y="{y + 22:.1f}" width="{SWATCH}" height="14"/>'
        )
        if i:
            parts.append(
                f'<text class="soft small" x="{x:.0f}" y="{y + 50:.1f}" text-anchor="middle">'
                f"{LIMITS[i - 1]}</text>"
            )
    marks = [("ring edge", "worst of the rule")] if len(findings.attacks) > 1 else []
    marks += [("failed", "run failed, or no number")]
    x = 2.0
    for kind, meaning in marks:
        style = ' style="stroke-opacity:1"' if kind.startswith("ring") else ""
        parts.append(
            f'<rect class="{kind}"{style} x="{x:.1f}" y="{y + 64:.1f}" width="16" height="14" rx="2"/>'
            f'<text class="soft small" x="{x + 23:.1f}" y="{y + 75:.1f}">{meaning}</text>'
        )
        x += 23 + 6.6 * len(meaning) + 18
    return parts
