"""Draws the chart of detection against the strength of an attack."""

import math
from collections.abc import Sequence

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BELOW = 720, 340, 62, 22, 24, 62
STYLE = (
    "text{font:14px system-ui,sans-serif;fill:#1c2024}.soft{fill:#59616b}.rule{stroke:#dde1e6}"
    ".a{stroke:#a3231c;fill:#a3231c}.h{stroke:#0068a8;fill:#0068a8}.line{fill:none;stroke-width:2.5}"
    ".factor{stroke:#59616b;stroke-dasharray:4 4}"
    "@media (prefers-color-scheme:dark){text{fill:#e8eaed}.soft{fill:#a3abb5}.rule{stroke:#2e353e}"
    ".a{stroke:#ff9a8f;fill:#ff9a8f}.h{stroke:#5db7ee;fill:#5db7ee}}"
)


def chart(points: Sequence[tuple[float, float, float]], factor: float = 50.0) -> str:
    """An SVG of points (strength, share of attackers that are suspects, share of honest clients that are).

    All strengths are drawn at equal distances, because they grow in unequal steps.
    """
    step = (WIDTH - LEFT - RIGHT) / (len(points) - 1)

    def place(number: int, part: float) -> tuple[float, float]:
        return LEFT + step * number, TOP + (HEIGHT - TOP - BELOW) * (1 - part)

    parts = []
    for tick in (0, 0.25, 0.5, 0.75, 1):
        _, y = place(0, tick)
        parts.append(f'<path class="rule" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(
            f'<text class="soft" x="{LEFT - 8}" y="{y + 5:.1f}" text-anchor="end">{tick:.0%}</text>'
        )
    for number, (strength, _, _) in enumerate(points):
        x, y = place(number, 0)
        label = f"{strength:g}".replace("e+0", "e").replace("e+", "e")
        parts.append(
            f'<text class="soft" x="{x:.1f}" y="{y + 22:.1f}" text-anchor="middle">{label}</text>'
        )
    for index, kind in ((1, "a"), (2, "h")):
        places = [place(number, point[index]) for number, point in enumerate(points)]
        line = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        parts.append(f'<path class="line {kind}" d="{line}"/>')
        parts += [
            f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>'
            if kind == "a"
            else f'<rect class="{kind}" x="{x - 3:.1f}" y="{y - 3:.1f}" width="6" height="6"/>'
            for x, y in places
        ]
    below = next((i for i, point in enumerate(points) if point[0] >= factor), 0)
    x, _ = place(below, 0)
    parts.append(f'<path class="factor" d="M{x:.1f} {TOP}V{HEIGHT - BELOW}"/>')
    end, _ = place(len(points) - 1, 0)
    parts.append(f'<text x="{end:.1f}" y="{TOP + 24}" text-anchor="end">attackers</text>')
    parts.append(
        f'<text x="{end:.1f}" y="{HEIGHT - BELOW - 10}" text-anchor="end">honest nodes</text>'
    )
    parts.append(
        f'<text class="soft" x="{(LEFT + WIDTH - RIGHT) / 2:.1f}" y="{HEIGHT - 14}" text-anchor="middle">'
        "strength: the attackers send this many times their update, with the sign flipped</text>"
    )
    said = "; ".join(
        f"strength {strength:g}: {attackers:.0%} of the attackers, {honest:.0%} of the honest"
        for strength, attackers, honest in points
        if math.isfinite(strength)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">'
        f"<title>Nodes that are suspects after 25 rounds</title><desc>{said}</desc>"
        f"<style>{STYLE}</style>{''.join(parts)}</svg>\n"
    )
