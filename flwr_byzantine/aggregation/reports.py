"""Losses and metrics that clients report, aggregated so that one client cannot set them."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from logging import WARNING
from typing import Any, TypeVar

import numpy as np
from flwr.common.logger import log

from flwr_byzantine.checks import is_number

T = TypeVar("T")


def median(values: Iterable[Any]) -> float | None:
    """Median of the finite numbers among what clients reported.

    None where fewer than half of the reports are such: what is left may be an attacker's alone.

    Examples
    --------
    >>> median([0.25, 0.5, float("nan"), "high", 1e30])
    0.5
    """
    reported = list(values)
    finite = [float(v) for v in reported if is_number(v)]
    if not finite or 2 * len(finite) < len(reported):
        return None
    return 2 * float(np.median(np.divide(finite, 2)))  # the sum of two middle ones may be too large


def median_metrics(
    reports: Sequence[Mapping[str, Any]], leave_out: Iterable[str] = ()
) -> dict[str, float | list[float]]:
    """Median of each metric that more than half of the clients report.

    Parameters
    ----------
    reports : Sequence[Mapping[str, Any]]
        One mapping a client: numbers, or lists of numbers, which are taken position by position where
        more than half of the clients report lists of one length.
    leave_out : Iterable[str]
        Keys to leave out.

    Returns
    -------
    dict
        Metric -> median of the finite values.
    """
    skip = set(leave_out)
    counts = Counter(key for report in reports for key in report if key not in skip)
    result: dict[str, float | list[float]] = {}
    for key, count in counts.items():
        if 2 * count <= len(reports):
            continue
        values = [report[key] for report in reports if key in report]
        lengths = Counter(len(v) if isinstance(v, list | tuple) else None for v in values)
        length, agreed = lengths.most_common(1)[0]
        if 2 * agreed <= len(reports):
            continue
        if length is None:
            single = median(values)
            if single is not None:
                result[key] = single
            continue
        lists = [v for v in values if isinstance(v, list | tuple) and len(v) == length]
        medians = [median(position) for position in zip(*lists, strict=True)]
        if all(m is not None for m in medians):
            result[key] = [m for m in medians if m is not None]
    return result


def guarded(function: Callable[..., T], *arguments: Any) -> T | None:
    """Call a user's function on what clients reported; log instead of raising what they provoke."""
    try:
        return function(*arguments)
    except Exception as error:  # the user's function met a client's lie
        log(WARNING, "%s failed on the clients' reports and is left out: %r", function, error)
        return None


def capped(counts: Sequence[Any]) -> list[int]:
    """Example counts that clients report, made harmless as weights.

    A count above the median of the positive ones is cut to it, and what is no positive number is 0.

    Examples
    --------
    >>> capped([100, 120, 1e15, -5, float("nan")])
    [100, 120, 120, 0, 0]
    """
    positive = [count if is_number(count) and count > 0 else 0 for count in counts]
    limit = median(count for count in positive if count > 0) or 0
    return [int(min(count, limit)) for count in positive]
