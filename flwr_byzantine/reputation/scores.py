"""What the server remembers of clients from round to round, and what a round says about them."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from flwr_byzantine.aggregation.gate import Reply
from flwr_byzantine.aggregation.outcome import PREFIX, Outcome
from flwr_byzantine.checks import is_number, is_whole
from flwr_byzantine.reputation.rows import GradientSize, Vector

REMEMBERED = 9  # how many auxiliary gradients' lengths are remembered


@dataclass(frozen=True)
class ReputationOutcome(Outcome):
    """The outcome of a round, with the reputations that weighed its replies.

    Parameters
    ----------
    reputations : Mapping[str, float]
        Client -> score, for the clients of the round.
    """

    reputations: Mapping[str, float] = field(default_factory=dict)

    @property
    def selected(self) -> tuple[Reply, ...]:
        """All accepted replies count as kept. Scores weigh them, and a new client's score may be 0."""
        return self.accepted

    @property
    def metrics(self) -> dict[str, int | float]:
        """The counts, and ``byzantine/reputation/<client>`` for every client of the round."""
        return {**super().metrics, **named_scores("reputation", self.reputations)}


def named_scores(kind: str, scores: Mapping[str, float]) -> dict[str, float]:
    """The scores of clients as metrics, under names that begin with the library's prefix."""
    return {f"{PREFIX}{kind}/{client}": score for client, score in scores.items()}


@dataclass(frozen=True)
class Memory:
    """The memory that a round passes to the next round.

    Parameters
    ----------
    reputations : Mapping[str, float]
        Client -> score q_i.
    lengths : tuple[float, ...]
        Lengths of the newest auxiliary gradients, at most ``REMEMBERED`` of them.
    trained : tuple[bool, ...] or None
        Which tensors have a gradient; None before the first gradient.
    seen : Mapping[str, int]
        Client -> the last round with a usable reply from it.
    """

    reputations: Mapping[str, float] = field(default_factory=dict)
    lengths: tuple[float, ...] = ()
    trained: tuple[bool, ...] | None = None
    seen: Mapping[str, int] = field(default_factory=dict)

    def size(self, newest: GradientSize | None = None) -> GradientSize | None:
        """The usual length: the lower median, which one bad step does not change. It is None at first.

        Parameters
        ----------
        newest : GradientSize or None
            The size of the round's own auxiliary gradient, if it is known already.
        """
        if newest is not None:
            return self.updated(newest).size() or newest
        if self.trained is None:
            return None
        return GradientSize(statistics.median_low(self.lengths), self.trained)

    def updated(self, size: GradientSize) -> Self:
        """Return a memory that includes the size of another auxiliary gradient.

        A gradient that is not finite does not count. It comes from a model on which the loss overflows.
        """
        if not math.isfinite(size.length):
            return self
        lengths = (*self.lengths, size.length)[-REMEMBERED:]
        return replace(self, lengths=lengths, trained=size.trained)

    def scored(self, server_round: int, clients: Sequence[str], q: Vector) -> Self:
        """Return a memory with the new scores of the clients of a round."""
        scores = dict(zip(clients, q.tolist(), strict=True))
        return replace(
            self,
            reputations={**self.reputations, **scores},
            seen={**self.seen, **dict.fromkeys(clients, server_round)},
        )

    def without_unseen(self, server_round: int, rounds: int | None) -> Self:
        """Return a memory without the clients that took no part in the newest ``rounds`` rounds."""
        if rounds is None or all(last > server_round - rounds for last in self.seen.values()):
            return self
        seen = {client: last for client, last in self.seen.items() if last > server_round - rounds}
        return replace(self, reputations={c: self.reputations[c] for c in seen}, seen=seen)

    def state_dict(self) -> dict[str, Any]:
        """Write as numbers, strings, lists and None, which JSON keeps bit for bit."""
        return {
            "reputations": dict(self.reputations),
            "lengths": list(self.lengths),
            "trained": None if self.trained is None else list(self.trained),
            "seen": dict(self.seen),
        }

    @classmethod
    def read(cls, state: Mapping[str, Any]) -> Self:
        """Read what :meth:`state_dict` wrote.

        Raises
        ------
        ValueError
            If the state is anything else.
        """
        try:
            scores, lengths, trained = state["reputations"], state["lengths"], state["trained"]
            seen = state["seen"]
            ok = all(isinstance(client, str) and is_number(q) for client, q in scores.items())
            ok &= all(is_number(length) and length >= 0 for length in lengths)
            ok &= (trained is None) == (not lengths)
            ok &= all(isinstance(moves, bool) for moves in trained or ())
            ok &= set(seen) == set(scores) and all(map(is_whole, seen.values()))
        except (AttributeError, KeyError, TypeError, ValueError):
            ok = False
        if not ok:
            raise ValueError(
                "Parameter `state` should be what `state_dict` gave. "
                f"Found `state = {state!r}`. Pass the state of a ByGARS or ByGARSPlusPlus strategy of this "
                "version. A state without `seen` comes from an earlier version, which this one cannot read."
            )
        return cls(
            {client: float(score) for client, score in scores.items()},
            tuple(map(float, lengths)),
            None if trained is None else tuple(trained),
            {client: int(last) for client, last in seen.items()},
        )
