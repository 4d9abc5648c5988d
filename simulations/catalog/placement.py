"""Which clients of a run are Byzantine, which ones a round asks, and which ones never answer."""

from __future__ import annotations

from dataclasses import dataclass

from flwr_byzantine.attacks.base import require, require_whole
from simulations.streams import Stream, generator

PLACEMENTS = ("first", "drawn")


def byzantine_clients(
    n: int,
    f: int,
    seed: int,
    placement: str = "first",
    redraw: bool = False,
    server_round: int = 1,
) -> frozenset[int]:
    """Return the numbers of the f Byzantine clients among n.

    Parameters
    ----------
    n, f : int
        The number of clients, and of Byzantine ones among them.
    seed : int
        The seed of the run.
    placement : {"first", "drawn"}
        The first f, or f drawn by the seed.
    redraw : bool
        Draw anew in every round, whatever the placement.
    server_round : int
        The round; it matters only with `redraw`.

    Examples
    --------
    >>> sorted(byzantine_clients(n=20, f=3, seed=0))
    [0, 1, 2]
    """
    require_whole("f", f, 0, "Count the Byzantine clients.")
    require(f <= n, "f", f"at most `n = {n}`", f, "There are no more clients.")
    known = f"one of {', '.join(PLACEMENTS)}"
    require(placement in PLACEMENTS, "placement", known, placement, "Choose one of them.")
    if placement == "first" and not redraw:
        return frozenset(range(f))
    keys = (server_round,) if redraw else ()
    drawn = generator(Stream.BYZANTINE, seed, *keys).choice(n, f, replace=False)
    return frozenset(int(client) for client in drawn)


@dataclass(frozen=True)
class Participation:
    """Which clients of a run are Byzantine, which ones each round asks, and which ones never answer.

    Parameters
    ----------
    n, f, seed, placement, redraw
        As for `byzantine_clients`.
    per_round : int
        How many clients each round asks, drawn by the seed; 0 stands for all.
    stragglers : int
        How many honest clients never answer: the last ones.
    """

    n: int
    f: int
    seed: int
    placement: str = "first"
    redraw: bool = False
    per_round: int = 0
    stragglers: int = 0

    def check(self) -> None:
        """Raise a ValueError if a round cannot ask so many clients, or cannot have so many stragglers."""
        if self.per_round > self.n:
            raise ValueError(
                f"Parameter `clients_per_round` should be at most `clients`, which is {self.n}. "
                f"Found `clients_per_round = {self.per_round}`."
            )
        if self.stragglers and (self.stragglers >= self.n - self.f or self.redraw):
            raise ValueError(
                f"Parameter `stragglers` should be less than {self.n - self.f}, the number of honest "
                "clients, and 0 with `redraw`, because stragglers are honest in every round. "
                f"Found `stragglers = {self.stragglers}`."
            )

    @property
    def partly(self) -> bool:
        """Whether some of the clients do not answer in a round."""
        return bool(self.per_round or self.stragglers)

    @property
    def answers(self) -> int:
        """The most clients that answer in a round."""
        return min(self.per_round or self.n, self.n - self.stragglers)

    def byzantine_in(self, server_round: int = 1) -> frozenset[int]:
        """Return the numbers of a round's Byzantine clients, whether it asks them or not."""
        return byzantine_clients(
            self.n, self.f, self.seed, self.placement, self.redraw, server_round
        )

    def asked_in(self, server_round: int = 1) -> frozenset[int]:
        """Return the numbers of the clients that a round asks.

        Examples
        --------
        >>> len(Participation(n=100, f=20, seed=0, per_round=20).asked_in(1))
        20
        """
        if not self.per_round:
            return frozenset(range(self.n))
        rng = generator(Stream.PARTICIPATION, self.seed, server_round)
        return frozenset(rng.choice(self.n, self.per_round, replace=False).tolist())

    @property
    def silent(self) -> frozenset[int]:
        """The numbers of the clients that never answer.

        Examples
        --------
        >>> sorted(Participation(n=6, f=1, seed=0, stragglers=2).silent)
        [4, 5]
        """
        if not self.stragglers:
            return frozenset()
        byzantine = self.byzantine_in()
        honest = [client for client in range(self.n) if client not in byzantine]
        return frozenset(honest[len(honest) - self.stragglers :])

    def answering_in(self, server_round: int = 1) -> frozenset[int]:
        """Return the numbers of the clients that answer in a round."""
        return self.asked_in(server_round) - self.silent
