"""Losses and metrics that clients report, aggregated so that one client cannot set them."""

import math
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from logging import ERROR, WARNING
from typing import Any, TypeVar

import numpy as np
from flwr.common.logger import log

from flwr_byzantine.aggregation.npy import clip
from flwr_byzantine.checks import is_number

T = TypeVar("T")
MAX_COUNT = 2**63  # Flower's `aggregate_fit` API transmits no larger number
MAX_CALLS = 20  # the most calls of a traceback in the log
NOT_FINITE = "Most clients report no finite number as %s: it is NaN"


def median(values: Iterable[Any]) -> float | None:
    """The median of the finite numbers among what clients reported.

    It is NaN if at least half of the reports are numbers, but fewer than half are finite, because all
    finite numbers may come from attackers. It is None if most reports are not numbers.

    Examples
    --------
    >>> median([0.25, 0.5, float("nan"), "high", 1e30])
    0.5
    >>> median([0.25, float("nan"), float("nan")])
    nan
    """
    reported = list(values)
    finite = sorted(float(v) for v in reported if is_number(v))
    if finite and 2 * len(finite) >= len(reported):
        low, high = finite[(len(finite) - 1) // 2], finite[len(finite) // 2]
        between = low / 2 + high / 2  # the sum may overflow, and half of a tiny number may be 0
        return min(max(low, between), high)
    numbers = sum(isinstance(v, int | float) for v in reported)
    return math.nan if numbers and 2 * numbers >= len(reported) else None


def median_loss(losses: Sequence[Any]) -> float:
    """The median of the losses that clients report; NaN, with a warning, if there is none."""
    loss = median(losses)
    if loss is None or math.isnan(loss):
        log(WARNING, NOT_FINITE, "the loss")
        return math.nan
    return loss


def median_metrics(
    reports: Sequence[Mapping[str, Any]], leave_out: Iterable[str] = ()
) -> dict[str, float | list[float]]:
    """The median of each metric that more than half of the clients report.

    Parameters
    ----------
    reports : Sequence[Mapping[str, Any]]
        One mapping for each client, with numbers or lists of numbers. If more than half of the clients report
        lists of the same length, medians are taken position by position.
    leave_out : Iterable[str]
        Keys to leave out.

    Returns
    -------
    dict
        Metric -> the median of the finite values; NaN, with a warning, if most of them are not finite.
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
    unknown = [key for key, value in result.items() if np.isnan(value).any()]
    if unknown:
        log(WARNING, NOT_FINITE, clip(", ".join(map(str, unknown))))
    return result


def text_metrics(reports: Sequence[Mapping[str, Any]]) -> list[dict[str, str | bytes]]:
    """For each client, its own text for the metrics that are text for more than half of the clients.

    A client that sent no text gets the most frequent text.

    Examples
    --------
    >>> text_metrics([{"on": "cpu"}, {"on": "gpu"}, {"on": "cpu"}, {"on": 3, "more": "text"}])
    [{'on': 'cpu'}, {'on': 'gpu'}, {'on': 'cpu'}, {'on': 'cpu'}]
    """
    texts = [{k: v for k, v in report.items() if isinstance(v, str | bytes)} for report in reports]
    counts = Counter(key for report in texts for key in report)
    usual = {
        key: Counter(report[key] for report in texts if key in report).most_common(1)[0][0]
        for key, count in counts.items()
        if 2 * count > len(reports)
    }
    return [{key: report.get(key, text) for key, text in usual.items()} for report in texts]


def guarded(
    function: Callable[..., Any], *arguments: Any, read: Callable[[Any], T] = lambda found: found
) -> T | None:
    """Call a user's function on what clients reported. An error is logged with its traceback.

    Parameters
    ----------
    function : Callable
        The user's function.
    *arguments
        Its arguments.
    read : Callable
        A function that reads the result. If it raises an error, the user's function counts as wrong.

    Returns
    -------
    Any
        The result; None if the function raised an error.
    """
    try:
        return read(function(*arguments))
    except Exception as error:  # a bug in the user's function, or an unexpected report of a client
        text = "%s failed on what clients report, so its metrics are left out.\n%s"
        log(ERROR, text, _name(function), _traceback(error))
        return None


def _name(function: Callable[..., Any]) -> str:
    return f"`{getattr(function, '__qualname__', None) or repr(function)}`"


def _traceback(error: BaseException) -> str:
    """The newest calls that led to an error, and its text, cut short. A client may have written the text."""
    inner = error.__traceback__ and error.__traceback__.tb_next
    calls = "".join(traceback.format_tb(inner, limit=-MAX_CALLS))
    return f"Traceback (most recent call last):\n{calls}{type(error).__name__}: {clip(error)}"


def capped(counts: Sequence[Any]) -> list[int]:
    """The numbers of examples that clients report, made harmless as weights.

    A number above the median of the positive numbers is cut to it. All that is no positive number becomes 0.

    Examples
    --------
    >>> capped([100, 120, 1e15, -5, float("nan")])
    [100, 120, 120, 0, 0]
    """
    positive = [count if is_number(count) and count > 0 else 0 for count in counts]
    limit = median(count for count in positive if count > 0) or 0
    return [int(min(count, limit)) for count in positive]


def harmless(counts: Sequence[Any], cap: bool) -> list[Any]:
    """The numbers of examples that can be weights, as clients reported them or capped; 0 for all others.

    If all of them are 0, all become 1, because a strategy divides by their sum.

    Examples
    --------
    >>> harmless([100, 1e15, -5, float("nan"), "many"], cap=False)
    [100, 1000000000000000.0, 0, 0, 0]
    """
    usable: list[Any] = [_plain(n) if is_number(n) and 0 <= n < MAX_COUNT else 0 for n in counts]
    if cap:
        usable = list(capped(counts))
    return usable if any(usable) else [1] * len(usable)


def _plain(number: Any) -> int | float:
    """A Python number, because records accept neither booleans nor numpy's numbers."""
    return int(number) if isinstance(number, int | np.integer) else float(number)
