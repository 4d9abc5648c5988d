"""A picture of the scoreboard: a bar for each paper, divided by the verdicts on its claims."""

from __future__ import annotations

from collections.abc import Sequence

from flwr_byzantine.lab.page.text import escape
from simulations.report.board import WORDS, counts, tally
from simulations.report.looks import INK, SOFT
from simulations.report.scoreboard import FAILS, HOLDS, NO_TEST, NOT_RUN, Judged

# Blue and orange, which all eyes can tell apart, and greys. ON has the colours of the text on them.
FILLS = {HOLDS: "#14497f", FAILS: "#cc7118", NO_TEST: "#c3cad2", NOT_RUN: "#ffffff"}
ON = {HOLDS: "#ffffff", FAILS: "#1c2024", NO_TEST: INK, NOT_RUN: INK}
WIDE, LEFT, TOP, HIGH, BAR = 700, 210, 46, 34, 22  # pixels
LETTER = 7.0
STYLE = "font-family:system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif"


def scoreboard_picture(judged: Sequence[Judged]) -> str | None:
    """Return the bars as an SVG. None if no claim is decided yet."""
    papers = {
        paper: counts([one for one in judged if one.claim.paper == paper])
        for paper in dict.fromkeys(one.claim.paper for one in judged)
    }
    if not any(one.verdict in (HOLDS, FAILS) for one in judged):
        return None
    most = max(map(sum, papers.values()))
    body = _legend()
    for row, (paper, own) in enumerate(papers.items()):
        y = TOP + HIGH * row
        name = paper.partition(" (")[0]
        body.append(
            f'<text x="{LEFT - 10}" y="{y + BAR / 2 + 4.5:.1f}" text-anchor="end">{escape(name)}</text>'
        )
        x = float(LEFT)
        for verdict, many in zip(WORDS, own, strict=True):
            wide = (WIDE - LEFT - 12) * many / most
            body += _part(verdict, many, x, y, wide, paper) if many else []
            x += wide
    high = TOP + HIGH * len(papers) + 4
    title = f"Which of the papers' claims hold here: {tally(judged)}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{WIDE}" height="{high}" '
        f'viewBox="0 0 {WIDE} {high}" style="--wide:{WIDE}px;{STYLE}" font-size="13" fill="{INK}">'
        f'<title>{escape(title)}</title><rect width="100%" height="100%" fill="#ffffff"/>'
        f"{''.join(body)}</svg>\n"
    )


def _legend() -> list[str]:
    parts, x = [], float(LEFT)
    for verdict in WORDS:
        parts.append(
            f'<rect x="{x:.0f}" y="14" width="14" height="14" rx="2" fill="{FILLS[verdict]}" '
            f'stroke="{SOFT}" stroke-width=".8"/><text x="{x + 20:.0f}" y="25.5">{verdict}</text>'
        )
        x += 20 + LETTER * len(verdict) + 24
    return parts


def _part(verdict: str, many: int, x: float, y: float, wide: float, paper: str) -> list[str]:
    """A part of a bar with its number, and with its word if there is room for it."""
    words = f"{many} {WORDS[verdict]}"
    shown = words if LETTER * len(words) + 8 < wide else str(many)
    return [
        f'<g><title>{escape(paper)}: {words}</title><rect x="{x:.1f}" y="{y}" width="{wide:.1f}" '
        f'height="{BAR}" fill="{FILLS[verdict]}" stroke="{SOFT}" stroke-width=".8"/>'
        f'<text x="{x + wide / 2:.1f}" y="{y + BAR / 2 + 4.5:.1f}" text-anchor="middle" '
        f'font-weight="600" fill="{ON[verdict]}">{shown}</text></g>'
    ]
