"""What is kept of clients from round to round, and what a round says about them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from flwr_byzantine.metrics import is_number
from flwr_byzantine.outcome import Outcome
from flwr_byzantine.pseudogradients import Vector, Yardstick


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
        """Counts, and ``reputation/<client>`` for every client."""
        scores = {f"reputation/{client}": score for client, score in self.reputations.items()}
        return {**super().metrics, **scores}


@dataclass(frozen=True)
class Memory:
    """What a round leaves to the next.

    Parameters
    ----------
    reputations : Mapping[str, float]
        Client -> score q_i.
    yardstick : Yardstick or None
        The length of the longest auxiliary gradient so far; None before the first one.
    """

    reputations: Mapping[str, float] = field(default_factory=dict)
    yardstick: Yardstick | None = None

    def updated(self, clients: Sequence[str], q: Vector, yardstick: Yardstick | None) -> Self:
        """With new scores of some clients, and with what another auxiliary gradient was like.

        One that is not finite, from a model that the auxiliary loss overflows on, is passed over.
        """
        before = self.yardstick
        if yardstick is None or not math.isfinite(yardstick.length):
            yardstick = before
        elif before is not None:
            yardstick = Yardstick(max(before.length, yardstick.length), yardstick.trained)
        scores = dict(zip(clients, q.tolist(), strict=True))
        return type(self)({**self.reputations, **scores}, yardstick)

    def state_dict(self) -> dict[str, Any]:
        """Write as numbers, strings, lists and None, which JSON keeps bit for bit."""
        yardstick = self.yardstick
        return {
            "reputations": dict(self.reputations),
            "length": None if yardstick is None else yardstick.length,
            "trained": None if yardstick is None else list(yardstick.trained),
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
            scores, length, trained = state["reputations"], state["length"], state["trained"]
            ok = all(isinstance(client, str) and is_number(q) for client, q in scores.items())
            yardstick = None
            if length is not None or trained is not None:
                yardstick = Yardstick(float(length), tuple(trained))
                ok &= is_number(length) and all(isinstance(moves, bool) for moves in trained)
        except (AttributeError, KeyError, TypeError, ValueError):
            ok = False
        if not ok:
            raise ValueError(
                "Parameter `state` should be what `state_dict` gave. "
                f"Found `state = {state!r}`. Pass the state of a ByGARS or ByGARSPlusPlus strategy."
            )
        return cls({client: float(score) for client, score in scores.items()}, yardstick)
