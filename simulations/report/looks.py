"""How pictures of curves look: colours that all eyes can tell apart, and red for averaging alone."""

from __future__ import annotations

from typing import Any

INK, SOFT, RULE, RED = "#1c2024", "#59616b", "#dde1e6", "#c8102e"
# After Okabe and Ito (2008), without the colours that some people take for red. All are dark enough on white.
COLOURS = ("#0068a8", "#007a58", "#a03c7c", "#5a4fcf", "#6f6100", "#3f4a54")
DASHES = ("-", (0, (5, 1.6)), (0, (1.4, 1.4)), (0, (6, 1.5, 1.4, 1.5)), (0, (9, 2.5)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
FIXED: Any = {  # so that the same cells give the same file, and text stays text
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # to measure text; the file asks for any sans-serif font
    "axes.unicode_minus": True,
    "path.simplify_threshold": 0.4,
}


def rule_look(number: int | None) -> dict[str, Any]:
    """Return colour, dashes and marker of a line: for None those of averaging, else one of 210 looks.

    Examples
    --------
    >>> rule_look(None)["color"] == RED
    True
    """
    if number is None:
        return {"color": RED, "linestyle": "-", "marker": ""}
    return {
        "color": COLOURS[number % len(COLOURS)],
        "linestyle": DASHES[number // len(COLOURS) % len(DASHES)],
        "marker": MARKERS[number % len(MARKERS)],
    }
