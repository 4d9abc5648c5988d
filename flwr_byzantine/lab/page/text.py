"""How the page writes words and numbers."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Sequence
from typing import Any

from flwr_byzantine.lab.scores import is_share

MISSING = "\N{EN DASH}"  # where there is no number
MINUS, TIMES = "\N{MINUS SIGN}", "\N{MULTIPLICATION SIGN}"
PLUS_MINUS = "\N{PLUS-MINUS SIGN}"
DIVERGES = "diverges"  # where the metric ends as NaN or infinitely bad
MOST = 1000  # points: above this number, the exact number means nothing
# Characters that no document may hold, and characters that change the direction of the text after them.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


def text(value: Any) -> str:
    """A value as text that every document can hold.

    Examples
    --------
    >>> text(9007199254740993)
    '9007199254740993'
    """
    return _UNSEEN.sub("\ufffd", str(value))


def escape(value: Any) -> str:
    """A value as text that a browser does not take for HTML.

    Examples
    --------
    >>> escape("<b> & 'c'")
    '&lt;b&gt; &amp; &#x27;c&#x27;'
    """
    return html.escape(text(value))


def shortened(name: str, most: int) -> str:
    """A name of at most ``most`` characters. If it is longer, its middle is cut out.

    Examples
    --------
    >>> shortened("nnm+geometric_median", 15)
    'nnm+geome…edian'
    """
    if len(name) <= most:
        return name
    end = (most - 1) // 3 + 1
    return f"{name[: most - 1 - end]}…{name[-end:]}"


def signed(number: str) -> str:
    """The number with a minus sign that is as wide as a digit."""
    return number.replace("-", MINUS)


def points(lost: float | None) -> str:
    """Points lost, with a minus sign if points were gained.

    Examples
    --------
    >>> points(78.21), points(-0.44), points(-0.01), points(2.5e7), points(float("nan")), points(None)
    ('78.2', '−0.4', '0.0', '> 1000', 'diverges', '–')
    """
    if lost is None:
        return MISSING
    if not math.isfinite(lost):
        return DIVERGES
    if abs(lost) > MOST:
        return f"> {MOST}" if lost > 0 else f"< {MINUS}{MOST}"
    shown = f"{lost:.0f}" if abs(lost) >= 99.95 else f"{lost:.1f}"
    return "0.0" if shown == "-0.0" else signed(shown)


def half_range(values: Sequence[float]) -> str:
    """Half of the range of the seeds, as text that follows their mean; empty with one seed.

    Examples
    --------
    >>> half_range([10.0, 14.2, 12.0]), half_range([10.0])
    ('± 2.1', '')
    """
    if len(values) < 2:
        return ""
    return f"{PLUS_MINUS} {points((max(values) - min(values)) / 2)}"


def points_in_words(lost: float) -> str:
    """Points lost in a sentence.

    Examples
    --------
    >>> points_in_words(2.25), points_in_words(3e11), points_in_words(float("inf"))
    ('2.2 points', 'more than 1000 points', 'diverges')
    """
    if not math.isfinite(lost):
        return DIVERGES
    shown = points(lost).replace("> ", "more than ").replace("< ", "less than ")
    return f"{shown} points"


def value(number: float | None) -> str:
    """A value of the metric with about three digits.

    Examples
    --------
    >>> value(0.91234), value(12.3456), value(3.2e9), value(None)
    ('0.912', '12.35', '3.2e9', '–')
    """
    if number is None:
        return MISSING
    if not math.isfinite(number):
        return "NaN" if number != number else "∞" if number > 0 else f"{MINUS}∞"
    size = abs(number)
    if size and (size >= 1e5 or size < 1e-3):
        return signed(re.sub(r"e\+?(-?)0*", r"e\1", f"{number:.1e}"))
    return signed(
        f"{number:.3f}" if size < 10 else f"{number:.2f}" if size < 1000 else f"{number:.0f}"
    )


def times(factor: float | None) -> str:
    """A factor, as text.

    Examples
    --------
    >>> times(1.134), times(25.2)
    ('1.13 ×', '25 ×')
    """
    if factor is None:
        return MISSING
    return f"{factor:.{2 if factor < 10 else 0}f} {TIMES}"


def listed(names: Sequence[str]) -> str:
    """Names in a sentence.

    Examples
    --------
    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    *before, last = names
    return f"{', '.join(before)} and {last}" if before else last


def point_in_words(metric: str, lower_is_better: bool, reference: float | None) -> str:
    """What one point is, in a sentence.

    Parameters
    ----------
    metric : str
        The name of the metric.
    lower_is_better : bool
        Whether a lower value is better.
    reference : float or None
        The value that the app reaches without an attack.
    """
    if reference is None or not math.isfinite(reference):
        return "Points cannot be counted, because the app reported no number without an attack."
    if is_share(lower_is_better, reference):
        return f"One point is 0.01 of {metric}."
    return f"One point is 1 % of the {metric} of the app without an attack, which is {value(reference)}."


def characters(name: str) -> float:
    """The width of a name in ordinary characters. A character of East Asia counts as two."""
    return sum(1.0 if ord(letter) < 0x1100 else 1.9 for letter in name)
