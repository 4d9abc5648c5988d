"""What is kept of clients from round to round, and what a round says about them."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from flwr_byzantine.aggregation.outcome import PREFIX, Outcome
from flwr_byzantine.checks import is_number
from flwr_byzantine.reputation.rows import GradientSize, Vector

REMEMBERED = 9  # auxiliary gradients


@dataclass(frozen=True)
class ReputationOutcome(Outcome):
    """What a round came to, and the reputations that weighed it.

    Parameters
    ----------
    reputations : Mapping[str, float]
        Client -> score, of every client known so far.
    """

    reputations: Mapping[str, float] = field(default_factory=dict)

    @property
    def metrics(self) -> dict[str, int | float]:
        """Counts, and ``byzantine/reputation/<client>`` for every client of the round."""
        scores = {
            f"{PREFIX}reputation/{client}": score for client, score in self.reputations.items()
        }
        return {**super().metrics, **scores}


@dataclass(frozen=True)
class Memory:
    """What a round leaves to the next.

    Parameters
    ----------
    reputations : Mapping[str, float]
        Client -> score q_i.
    lengths : tuple[float, ...]
        Lengths of the newest auxiliary gradients, ``REMEMBERED`` at most.
    trained : tuple[bool, ...] or None
        Which tensors have a gradient; None before the first one.
    """

    reputations: Mapping[str, float] = field(default_factory=dict)
    lengths: tuple[float, ...] = ()
    trained: tuple[bool, ...] | None = None

    def size(self, newest: GradientSize | None = None) -> GradientSize | None:
        """The usual length: the lower median, which one bad step does not change. None at first.

        Parameters
        ----------
        newest : GradientSize or None
            What the round's own auxiliary gradient is like, where it is there already.
        """
        if newest is not None:
            return self.updated((), np.empty(0), newest).size() or newest
        if self.trained is None:
            return None
        return GradientSize(statistics.median_low(self.lengths), self.trained)

    def updated(self, clients: Sequence[str], q: Vector, size: GradientSize | None) -> Self:
        """With new scores of some clients, and with what another auxiliary gradient was like.

        One that is not finite, from a model that the auxiliary loss overflows on, is passed over.
        """
        lengths, trained = self.lengths, self.trained
        if size is not None and math.isfinite(size.length):
            lengths, trained = (*lengths, size.length)[-REMEMBERED:], size.trained
        scores = dict(zip(clients, q.tolist(), strict=True))
        return type(self)({**self.reputations, **scores}, lengths, trained)

    def state_dict(self) -> dict[str, Any]:
        """Write as numbers, strings, lists and None, which JSON keeps bit for bit."""
        return {
            "reputations": dict(self.reputations),
            "lengths": list(self.lengths),
            "trained": None if self.trained is None else list(self.trained),
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
            ok = all(isinstance(client, str) and is_number(q) for client, q in scores.items())
            ok &= all(is_number(length) and length >= 0 for length in lengths)
            ok &= (trained is None) == (not lengths)
            ok &= all(isinstance(moves, bool) for moves in trained or ())
        except (AttributeError, KeyError, TypeError, ValueError):
            ok = False
        if not ok:
            raise ValueError(
                "Parameter `state` should be what `state_dict` gave. "
                f"Found `state = {state!r}`. Pass the state of a ByGARS or ByGARSPlusPlus strategy of this "
                "version; one with a `length` is an earlier version's, and cannot be read."
            )
        return cls(
            {client: float(score) for client, score in scores.items()},
            tuple(map(float, lengths)),
            None if trained is None else tuple(trained),
        )
