"""Which clients are suspects: their updates are far larger than those of most clients, in several rounds.

Verdicts such as "trimmed" only say what a rule used. They are no evidence against a client, because many
rules leave some clients out in every round. A suspicion needs more. A client stands out in a round if its
update is more than ``factor`` times as large as the usual one. It is a suspect if it stood out in
``rounds`` of its last ``of`` rounds.

Let f of n updates come from attackers. The usual size is the (n - f)-th smallest size. Attackers cannot make
it larger than the largest honest size. They can make it smaller if they send tiny updates. If n is more than
3f, it is at least the median honest size. If n is 2f + 1, it may be as small as the smallest honest size, and
sizes of honest clients differ much. So if f is a third of the updates or more, ``wide_factor`` replaces
``factor``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from flwr_byzantine.audit.marks import Mark, Measure, marks
from flwr_byzantine.checks import KnownKeywords, is_number, require, require_whole

FORGET_AFTER = 1000  # rounds without a reply


@dataclass(frozen=True)
class Suspicion(KnownKeywords):
    """When a client is a suspect: see :mod:`flwr_byzantine.audit.suspicion`.

    Parameters
    ----------
    factor : float
        c. A client stands out in a round if its update is more than c times as large as the usual
        one.
    rounds : int
        k. A client has to stand out in this many rounds.
    of : int
        r. Only the newest r rounds of a client count. Rounds in which the client takes no part do not
        count.
    wide_factor : float
        c if a third of the updates or more may come from attackers. If `factor` is larger, `factor` is
        used instead.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    Examples
    --------
    >>> Suspicion(factor=30)
    Suspicion(factor=30, rounds=3, of=50, wide_factor=1000.0)
    """

    factor: float = 50.0
    rounds: int = 3
    of: int = 50
    wide_factor: float = 1000.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name, usual in (("factor", 50), ("wide_factor", 1000)):
            value = getattr(self, name)
            holds = is_number(value) and not isinstance(value, bool) and value > 1
            advice = f"Honest clients differ too. Try {usual}."
            require(holds, name, "a finite number above 1", value, advice, owner="Suspicion")
        told = (
            self.wide_factor != type(self).wide_factor
        )  # if only a larger `factor` was given, it holds for both
        holds = self.wide_factor >= self.factor or not told
        expected, advice = f"at least `factor = {self.factor}`", "Lower `factor` too."
        require(holds, "wide_factor", expected, self.wide_factor, advice, owner="Suspicion")
        require_whole("rounds", self.rounds, 1, "Try 3.", owner="Suspicion")
        advice = "A client can stand out in at most `of` rounds. Raise `of`, or lower `rounds`."
        require_whole("of", self.of, self.rounds, advice, owner="Suspicion")

    def factor_for(self, n: int, f: int) -> float:
        """c for n updates, if f of them may come from attackers."""
        return self.factor if n > 3 * f else max(self.factor, self.wide_factor)


class Absence(str):
    """A failure that need not be the client's fault: it was not reached, or its reply came too late."""

    __slots__ = ()


@dataclass(frozen=True)
class Evidence:
    """Why a client is a suspect.

    Parameters
    ----------
    rounds : tuple[int, ...]
        The rounds in which the client stood out.
    reasons : tuple[str, ...]
        The reason in each of these rounds.
    of : int
        How many of the client's newest rounds were counted.
    """

    rounds: tuple[int, ...]
    reasons: tuple[str, ...]
    of: int

    def is_of(self, kind: str) -> bool:
        """Whether all reasons begin with a text."""
        return all(reason.startswith(kind) for reason in self.reasons)

    def __str__(self) -> str:
        """The evidence as text."""
        rounds = ", ".join(map(str, self.rounds))
        return f"stood out in {len(self.rounds)} of its last {self.of} rounds ({rounds}): {self.reasons[-1]}"


@dataclass(frozen=True)
class Judged:
    """What a round says about its clients.

    Parameters
    ----------
    marks : Mapping[str, Mark]
        Client -> its mark.
    convicted : Mapping[str, Evidence]
        The clients that became suspects in this round.
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
        When a client is a suspect.
    convicted : dict[str, Evidence]
        The suspects, in the order in which they were found.
    windows : dict[str, list[tuple[int, str]]]
        For each client that stood out lately, its newest rounds, each with the reason or an empty text.
    largest : dict[str, float]
        For each measure, the largest usual size so far. In one round it grows at most by the factor c.
        Otherwise, if one sample held more than f attackers, these could hide others in all later rounds.
    """

    suspicion: Suspicion = field(default_factory=Suspicion)
    convicted: dict[str, Evidence] = field(default_factory=dict)
    windows: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    largest: dict[str, float] = field(default_factory=dict)

    def judge(
        self, clients: Sequence[str], measures: Sequence[Measure], f: int, *, remember: bool = True
    ) -> dict[str, Mark]:
        """Mark the clients of a round, and remember the usual sizes."""
        factor = self.suspicion.factor_for(len(clients), f)
        found = marks(clients, measures, f, self.largest, factor)
        for measure in measures if remember else ():
            usual = measure.usual(f)
            if np.isfinite(usual):
                before = self.largest.get(measure.name, 0.0)
                self.largest[measure.name] = max(before, min(usual, factor * before or usual))
        return found

    def add(self, server_round: int, found: Mapping[str, Mark]) -> dict[str, Evidence]:
        """Take note of a round, and return the clients that became suspects in it."""
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
        """Forget all evidence against a client."""
        self.convicted.pop(client, None)
        self.windows.pop(client, None)

    def state_dict(self) -> dict[str, Any]:
        """The state for a checkpoint."""
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
        """Go on from what :meth:`state_dict` gave. Begin anew if a checkpoint holds no such state."""
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
