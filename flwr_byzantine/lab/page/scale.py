"""Axes: where a number lies on an axis, and which ticks the axis has."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from flwr_byzantine.lab.page.text import signed, value

FAR = 200  # if values reach this multiple of the smallest one, the axis counts powers of ten

FURTHEST = 1e300  # differences of larger values may overflow


@dataclass(frozen=True)
class Scale:
    """An axis.

    Parameters
    ----------
    low, high : float
        The ends of the axis.
    step : float
        The distance from tick to tick; on a logarithmic axis, in powers of ten.
    is_log : bool
        Whether the axis is logarithmic.
    """

    low: float
    high: float
    step: float
    is_log: bool = False

    @classmethod
    def whole(cls, values: Sequence[float]) -> Scale:
        """The axis of rounds."""
        low, high = min(values, default=0.0), max(values, default=1.0)
        step = max(1.0, nice((high - low) / 5))
        return cls(low, max(high, low + 1), step)

    @classmethod
    def of(cls, values: Sequence[float]) -> Scale:
        """The axis of finite values. It is logarithmic if some of them are far from the others."""
        low, high = min(values, default=0.0), max(values, default=1.0)
        if low > 0 and high > FAR * low:
            low, high = float(math.floor(math.log10(low))), float(math.ceil(math.log10(high)))
            return cls(low, high, max(1, math.ceil((high - low) / 6)), is_log=True)
        if high - low <= 1e-9 * max(abs(low), abs(high)):
            low, high = low - (abs(low) / 10 or 0.1), high + (abs(high) / 10 or 0.1)
        low, high = max(low, -FURTHEST), min(high, FURTHEST)
        margin = (high - low) / 25
        return cls(low - margin, high + margin, nice((high - low) / 5))

    def place(self, number: float) -> float:
        """Where a number is, from 0 to 1."""
        if self.is_log:
            number = math.log10(number) if number > 0 else self.low
        return min(1.0, max(0.0, (number - self.low) / (self.high - self.low)))

    def ticks(self) -> Iterator[tuple[float, str]]:
        """The values of the ticks, and their labels."""
        first = math.ceil(self.low / self.step - 1e-6)
        count = math.floor(self.high / self.step + 1e-6) - first + 1
        digits = 0 if self.is_log else max(0, -math.floor(math.log10(self.step) + 1e-9))
        for number in (self.step * (first + i) for i in range(count)):
            if self.is_log:
                yield 10.0**number, f"1e{number:.0f}" if abs(number) > 3 else f"{10.0**number:g}"
            elif abs(number) >= 1e5 or digits > 4:
                yield number, value(number if abs(number) > self.step / 2 else 0.0)
            else:
                yield number, signed(f"{number + 0.0:.{digits}f}")


def nice(step: float) -> float:
    """The next larger number among 1, 2, 5, 10, 20 and so on.

    Examples
    --------
    >>> nice(0.18), nice(3.0)
    (0.2, 5.0)
    """
    if step <= 0:
        return 1.0
    power: float = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 5, 10, 20) if factor * power >= step * 0.999)


def spread(wanted: Sequence[float], apart: float, low: float, high: float) -> list[float]:
    """Places for labels: as near as possible to the wanted ones, in their order, with a least distance.

    Examples
    --------
    >>> spread([10.0, 11.0, 50.0], 10.0, 0.0, 100.0)
    [5.5, 15.5, 50.0]
    """
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    groups: list[list[float]] = []  # the middle and the number of labels that touch
    for i in order:
        groups.append([wanted[i], 1])
        while True:
            half = apart * (groups[-1][1] - 1) / 2
            groups[-1][0] = max(low + half, min(high - half, groups[-1][0]))
            if len(groups) < 2:
                break
            (one, some), (other, more) = groups[-2:]
            if other - one >= apart * (some + more) / 2:
                break
            groups[-2:] = [[(one * some + other * more) / (some + more), some + more]]
    places = [m + apart * (k - (n - 1) / 2) for m, n in groups for k in range(int(n))]
    found = dict(zip(order, places, strict=True))
    return [found[i] for i in range(len(wanted))]
