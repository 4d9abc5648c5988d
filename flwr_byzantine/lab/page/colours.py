"""Colours for a light and a dark background. Everybody can tell them apart, and the steps also in grey."""

from __future__ import annotations

from collections.abc import Sequence

# The more points an app loses, the more its cell stands out from the page: it is darker on paper, and
# brighter on a dark screen. Lightness changes evenly, so that a print in grey can be read too.
LIMITS = (1, 2, 5, 10, 20, 40, 60)  # points lost at which each step ends, but for the last
LIGHT = ("#f8f4e3", "#e7d2a3", "#ddac60", "#d68038", "#c8512c", "#a3333c", "#772144", "#4a1541")
DARK = ("#2b2d3a", "#503a62", "#874073", "#bb4f5a", "#e16b38", "#f59240", "#febd5b", "#ffe787")

# Points better or worse than a reference. Everybody can tell blue from orange, and both get darker away from
# the middle. They are the same on both backgrounds.
BETTER_OR_WORSE = (-20, -10, -5, -1, 1, 5, 10, 20)
DIVERGING = (
    "#14497f", "#3f7db5", "#86b4d8", "#c9dfee", "#f6f4ef", "#fadcb3", "#efad5e", "#cc7118", "#8a3f04"
)  # fmt: skip

# Colours of lines, after Okabe and Ito (2008). Each is dark or bright enough for its background.
LINES_LIGHT = ("#0068a8", "#c04a00", "#007a58", "#a03c7c", "#6f6100", "#5a4fcf")
LINES_DARK = ("#5db7ee", "#ff9350", "#35c79d", "#ea9fcd", "#e6d34f", "#b0a8ff")


def step(number: float, limits: Sequence[float] = LIMITS) -> int:
    """The step of a number such as points lost.

    Examples
    --------
    >>> step(-3.0), step(1.0), step(1.5), step(float("inf"))
    (0, 0, 1, 7)
    """
    return next((i for i, limit in enumerate(limits) if number <= limit), len(limits))


def luminance(colour: str) -> float:
    """Relative luminance by WCAG 2.2.

    Examples
    --------
    >>> luminance("#ffffff")
    1.0
    """
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Contrast of two colours by WCAG 2.2, from 1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def on(colour: str) -> str:
    """Black or white: the one that is easier to read on a colour."""
    return max("#000000", "#ffffff", key=lambda ink: contrast(ink, colour))


def variables(steps: tuple[str, ...], lines: tuple[str, ...]) -> str:
    """The CSS variables of one background."""
    found = {f"--s{i}": colour for i, colour in enumerate(steps)}
    found |= {f"--t{i}": on(colour) for i, colour in enumerate(steps)}
    found |= {f"--c{i}": colour for i, colour in enumerate(lines)}
    return "".join(f"{name}:{colour};" for name, colour in found.items())
