"""Who is a suspect: whose updates are again and again far larger than those of most clients.

Verdicts such as "trimmed" say what a rule used. They accuse nobody, for a rule leaves somebody out in every
round. A suspicion asks for an effect: a client stands out in a round where its update is more than ``factor``
times as large as the usual one, and is a suspect where it stood out in ``rounds`` of its last ``of`` rounds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from flwr_byzantine.checks import is_number, require, require_whole

Values = npt.NDArray[np.float64]

SHRUNK = 0.01  # the least usual size, as a part of the largest usual size so far
FORGET_AFTER = 1000  # rounds without a reply


@dataclass(frozen=True)
class Suspicion:
    """When a client is a suspect: see :mod:`flwr_byzantine.audit.suspicion`.

    Parameters
    ----------
    factor : float
        c: a client stands out in a round where its update is more than so many times as large as the usual
        one, which is the median of the round.
    rounds : int
        k: in how many rounds a client has to stand out.
    of : int
        r: of how many of its newest rounds. Rounds in which a client takes no part do not count.

    Examples
    --------
    >>> Suspicion(factor=50)
    Suspicion(factor=50, rounds=3, of=10)
    """

    factor: float = 20.0
    rounds: int = 3
    of: int = 10

    def __post_init__(self) -> None:
        """Check the numbers."""
        holds = is_number(self.factor) and not isinstance(self.factor, bool) and self.factor > 1
        advice = "Honest clients differ by a factor of ten or so; try 20."
        require(holds, "factor", "a finite number above 1", self.factor, advice, owner="Suspicion")
        require_whole("rounds", self.rounds, 1, "Try 3.", owner="Suspicion")
        advice = "A client has to stand out in `rounds` of so many."
        require_whole("of", self.of, self.rounds, advice, owner="Suspicion")


class Absence(str):
    """A reason why a client sent nothing that may not be its own fault: it was not reached, or too late."""

    __slots__ = ()


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

    @property
    def usual(self) -> float:
        """The median; of an even number of values the larger one of the two in the middle."""
        ordered = np.sort(np.where(np.isfinite(self.values), self.values, np.inf))
        return float(ordered[len(ordered) // 2])

    def reference(self, largest: float) -> float:
        """What the values are compared with; infinite where most are not finite.

        Parameters
        ----------
        largest : float
            The largest usual size of the run so far.
        """
        found = max(self.usual, SHRUNK * largest)
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
    clients: Sequence[str], measures: Sequence[Measure], largest: Mapping[str, float], factor: float
) -> dict[str, Mark]:
    """What each client's size says of it, by the measure in which it is largest.

    Parameters
    ----------
    clients : Sequence[str]
        n names.
    measures : Sequence[Measure]
        Of the n clients.
    largest : Mapping[str, float]
        Of each measure, by name, the largest usual size so far.
    factor : float
        From how many times the usual size on a client stands out.
    """
    sizes = np.zeros(len(clients))
    by: list[Measure | None] = [None] * len(clients)
    for measure in measures:
        reference = measure.reference(largest.get(measure.name, 0.0))
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


@dataclass(frozen=True)
class Evidence:
    """Why a client is a suspect.

    Parameters
    ----------
    rounds : tuple[int, ...]
        In which it stood out.
    reasons : tuple[str, ...]
        Why, in the same order.
    of : int
        Of how many of its rounds they are.
    """

    rounds: tuple[int, ...]
    reasons: tuple[str, ...]
    of: int

    def __str__(self) -> str:
        """In a sentence."""
        rounds = ", ".join(map(str, self.rounds))
        return f"stood out in {len(self.rounds)} of its last {self.of} rounds ({rounds}): {self.reasons[-1]}"


@dataclass(frozen=True)
class Judged:
    """What a round says of its clients.

    Parameters
    ----------
    marks : Mapping[str, Mark]
        By client.
    convicted : Mapping[str, Evidence]
        Those who are suspects since this round.
    suspects : tuple[str, ...]
        All suspects so far.
    names : Mapping[str, str]
        What people call clients.
    """

    marks: Mapping[str, Mark] = field(default_factory=dict)
    convicted: Mapping[str, Evidence] = field(default_factory=dict)
    suspects: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Suspects:
    """Who stood out in which rounds, and who is a suspect since when.

    Parameters
    ----------
    suspicion : Suspicion
        When a client is one.
    convicted : dict[str, Evidence]
        The suspects, in the order in which they were found.
    windows : dict[str, list[tuple[int, str]]]
        Of each client that stood out lately, its newest rounds; with the reason, or an empty text.
    largest : dict[str, float]
        Of each measure the largest usual size so far.
    """

    suspicion: Suspicion = field(default_factory=Suspicion)
    convicted: dict[str, Evidence] = field(default_factory=dict)
    windows: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    largest: dict[str, float] = field(default_factory=dict)

    def judge(self, clients: Sequence[str], measures: Sequence[Measure]) -> dict[str, Mark]:
        """Marks of the clients of a round, whose usual sizes are remembered."""
        found = marks(clients, measures, self.largest, self.suspicion.factor)
        for measure in measures:
            if np.isfinite(measure.usual):
                before = self.largest.get(measure.name, 0.0)
                self.largest[measure.name] = max(before, measure.usual)
        return found

    def add(self, server_round: int, found: Mapping[str, Mark]) -> dict[str, Evidence]:
        """Take note of a round; gives those who are suspects since."""
        new = {}
        for client, mark in found.items():
            window = self.windows.get(client, [])
            if mark.reason is None and not window:
                continue
            window = [*window, (server_round, mark.reason or "")][-self.suspicion.of :]
            stood_out = [(of, reason) for of, reason in window if reason]
            self.windows[client] = window
            if not stood_out:
                del self.windows[client]
            if len(stood_out) >= self.suspicion.rounds and client not in self.convicted:
                rounds, reasons = zip(*stood_out, strict=True)
                new[client] = Evidence(rounds, reasons, len(window))
        self.convicted |= new
        old = [c for c, w in self.windows.items() if abs(server_round - w[-1][0]) > FORGET_AFTER]
        for client in old:
            del self.windows[client]
        return new

    def pardon(self, client: str) -> None:
        """Forget all that is held against a client."""
        self.convicted.pop(client, None)
        self.windows.pop(client, None)

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {
            "convicted": {
                client: {
                    "rounds": [*evidence.rounds],
                    "reasons": [*evidence.reasons],
                    "of": evidence.of,
                }
                for client, evidence in self.convicted.items()
            },
            "windows": {
                client: [[of, reason] for of, reason in window]
                for client, window in self.windows.items()
            },
            "largest": dict(self.largest),
        }

    @classmethod
    def read(cls, suspicion: Suspicion, state: Mapping[str, Any]) -> Self:
        """Go on from what :meth:`state_dict` gave; from nothing where a checkpoint holds none."""
        return cls(
            suspicion,
            {
                client: Evidence(tuple(of["rounds"]), tuple(of["reasons"]), of["of"])
                for client, of in state.get("convicted", {}).items()
            },
            {
                client: [(int(of), str(reason)) for of, reason in window]
                for client, window in state.get("windows", {}).items()
            },
            {name: float(size) for name, size in state.get("largest", {}).items()},
        )
