"""The size of each client's update as a multiple of the usual size, and why a client stands out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]

SHRUNK = 0.05  # no usual size is smaller than this part of the largest usual size so far


@dataclass(frozen=True, eq=False)
class Measure:
    """One measure of the size of each client's update.

    Parameters
    ----------
    name : str
        The name of the measure in a checkpoint.
    text : str
        Why a client stands out by this measure. ``{}`` is its size as a multiple of the usual size.
    values : np.ndarray
        The sizes, shape (n,). A value that is not finite counts as infinite.
    floor : float
        A usual size up to this is only rounding error, or zero.
    instead : float
        The usual size to take in that case.
    """

    name: str
    text: str
    values: Values
    floor: float
    instead: float

    def usual(self, f: int) -> float:
        """The (n - f)-th smallest value. It is infinite if more than f values are not finite."""
        ordered = np.sort(np.where(np.isfinite(self.values), self.values, np.inf))
        return float(ordered[len(ordered) - f - 1])

    def reference(self, f: int, largest: float) -> float:
        """The usual size, with which values are compared. It is infinite if more than f are not finite.

        Parameters
        ----------
        f : int
            How many values may come from attackers; below n / 2.
        largest : float
            The largest usual size of the run so far.
        """
        found = max(self.usual(f), SHRUNK * largest)
        return found if found > self.floor else max(self.instead, self.floor)


class Mark(NamedTuple):
    """The size of one client's update in a round, and why the client stands out.

    Parameters
    ----------
    size : float or None
        The size of the update as a multiple of the usual size. It is infinite if the update is not finite,
        and None if nothing was measured.
    reason : str or None
        Why the client stands out; None if it does not.
    """

    size: float | None = None
    reason: str | None = None


def marks(
    clients: Sequence[str],
    measures: Sequence[Measure],
    f: int,
    largest: Mapping[str, float],
    factor: float,
) -> dict[str, Mark]:
    """The mark of each client, by the measure in which its size is largest.

    Parameters
    ----------
    clients : Sequence[str]
        The names of n clients.
    measures : Sequence[Measure]
        The measures of these clients' updates.
    f : int
        How many of the clients may be attackers.
    largest : Mapping[str, float]
        The name of a measure -> the largest usual size so far.
    factor : float
        A client stands out if its size is more than this many times the usual size.
    """
    sizes = np.zeros(len(clients))
    by: list[Measure | None] = [None] * len(clients)
    for measure in measures:
        reference = measure.reference(f, largest.get(measure.name, 0.0))
        if not np.isfinite(reference):
            continue
        finite = np.isfinite(measure.values)
        with np.errstate(over="ignore"):
            found = np.where(finite, measure.values / reference, np.inf)
        for i in np.flatnonzero(found > sizes):
            sizes[i], by[i] = found[i], measure
    return {
        client: Mark(float(size), _reason(size, measure) if size > factor else None)
        for client, size, measure in zip(clients, sizes, by, strict=True)
    }


def _reason(size: float, measure: Measure | None) -> str:
    if measure is None or not np.isfinite(size):
        return "values that are not finite, or too large to compute with"
    return measure.text.format(f"{size:.3g}")
