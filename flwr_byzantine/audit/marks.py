"""How large each client's update is beside the usual one, and what is said of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]

SHRUNK = 0.05  # the least usual size, as a part of the largest usual size so far


@dataclass(frozen=True, eq=False)
class Measure:
    """One way to say how large each client's update is.

    Parameters
    ----------
    name : str
        What it is called in a checkpoint.
    text : str
        What is said of a client that stands out by it; ``{}`` is how many times the usual size it has.
    values : np.ndarray
        Shape (n,); one that is not finite counts as infinite.
    floor : float
        A usual size up to this is none: rounding errors, or nothing.
    instead : float
        What takes its place then.
    """

    name: str
    text: str
    values: Values
    floor: float
    instead: float

    def usual(self, f: int) -> float:
        """The (n - f)-th smallest value; infinite where more than f are not finite."""
        ordered = np.sort(np.where(np.isfinite(self.values), self.values, np.inf))
        return float(ordered[len(ordered) - f - 1])

    def reference(self, f: int, largest: float) -> float:
        """What the values are compared with; infinite where more than f of them are not finite.

        Parameters
        ----------
        f : int
            How many may be attackers', below n / 2.
        largest : float
            The largest usual size of the run so far.
        """
        found = max(self.usual(f), SHRUNK * largest)
        return found if found > self.floor else max(self.instead, self.floor)


class Mark(NamedTuple):
    """What is said of one client's part in a round.

    Parameters
    ----------
    size : float or None
        How many times as large as the usual one its update is; infinite for one that is not finite. None
        where nothing was measured.
    reason : str or None
        Why it stands out; None where it does not.
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
    """What each client's size says of it, by the measure in which it is largest.

    Parameters
    ----------
    clients : Sequence[str]
        n names.
    measures : Sequence[Measure]
        Of the n clients.
    f : int
        How many of them may be attackers.
    largest : Mapping[str, float]
        Of each measure, by name, the largest usual size so far.
    factor : float
        From how many times the usual size on a client stands out.
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
