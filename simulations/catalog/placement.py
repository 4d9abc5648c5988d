"""Which clients of a run are Byzantine, which ones a round asks, and which ones never answer."""

from __future__ import annotations

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


def asked_clients(n: int, per_round: int, seed: int, server_round: int) -> frozenset[int]:
    """Return the numbers of the clients that a round asks: all of them, or as many as are drawn.

    Parameters
    ----------
    n : int
        The number of clients.
    per_round : int
        How many of them each round asks; 0 stands for all.
    seed, server_round : int
        What the draw depends on.

    Examples
    --------
    >>> len(asked_clients(n=100, per_round=20, seed=0, server_round=1))
    20
    """
    if not per_round:
        return frozenset(range(n))
    drawn = generator(Stream.PARTICIPATION, seed, server_round).choice(n, per_round, replace=False)
    return frozenset(int(client) for client in drawn)


def silent_clients(n: int, stragglers: int, byzantine: frozenset[int]) -> frozenset[int]:
    """Return the numbers of the honest clients that never answer: the last ones.

    Examples
    --------
    >>> sorted(silent_clients(n=6, stragglers=2, byzantine=frozenset({0, 5})))
    [3, 4]
    """
    honest = [client for client in range(n) if client not in byzantine]
    return frozenset(honest[len(honest) - stragglers :])
