"""Which nodes are Byzantine."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from math import floor
from typing import Any

from flwr_byzantine.attacks.base import stream
from flwr_byzantine.checks import is_number, is_whole, require, wrong
from flwr_byzantine.lab.kinds import is_attack

Node = Hashable
Byzantine = int | float | Collection[Any] | Callable[[Sequence[Any], int], Iterable[Any]]

STREAM = 0xD4A  # decides who is Byzantine; the simulations use the same stream
EXPECTED = "a whole number, a share in (0, 1), a collection of nodes, or a function that gives one"


class Placement:
    """Which nodes are Byzantine: nodes drawn with a seed, nodes that are named, or nodes from a function.

    Parameters
    ----------
    byzantine : int, float, collection or callable
        What the user passed.
    seed : int
        Decides who is drawn.
    redraw : bool
        Whether nodes are drawn anew in every round.
    advice : str
        How to name nodes, for errors.
    as_node : callable
        Turns the user's name of a node into the name that is used here.

    Raises
    ------
    ParameterError
        If it is none of these.
    """

    def __init__(
        self, byzantine: Any, seed: int, redraw: bool, advice: str, as_node: Callable[[Any], Node]
    ) -> None:
        self.byzantine, self.seed, self.redraw = byzantine, seed, redraw
        self.advice, self.as_node = advice, as_node
        self._drawn: frozenset[Node] | None = None
        count = is_whole(byzantine) and byzantine >= 0
        share = is_number(byzantine) and not is_whole(byzantine) and 0 < byzantine < 1
        share = share and not isinstance(byzantine, bool)
        named = isinstance(byzantine, Collection) and not isinstance(byzantine, str | bytes)
        self.named = named and not isinstance(byzantine, type)
        self.given_by = byzantine if callable(byzantine) and not self.named else None
        function = self.given_by is not None and not isinstance(byzantine, type)
        function = function and not is_attack(byzantine)
        usage = "Pass `byzantine=2`, `byzantine=0.2` or the ids of nodes."
        holds = count or share or self.named or function
        require(holds, "byzantine", EXPECTED, byzantine, usage)
        drawn = count or share
        usage = "Leave `redraw` out, or pass `byzantine` as a number of nodes."
        require(drawn or not redraw, "redraw", "False for nodes that are not drawn", redraw, usage)
        if self.named:
            self._drawn = frozenset(self._as_nodes(byzantine))

    def of_round(self, nodes: Sequence[Node], server_round: int) -> frozenset[Node]:
        """Return the Byzantine nodes of a round.

        Parameters
        ----------
        nodes : sequence
            All nodes that there are, in order.
        server_round : int
            The round.
        """
        if self.given_by is not None:
            return frozenset(self._as_nodes(self.given_by(list(nodes), server_round)))
        if self._drawn is None or self.redraw:
            keys = (server_round,) if self.redraw else ()
            n, f = len(nodes), self.count(len(nodes))
            require(f <= n, "byzantine", f"at most {n}, the number of nodes", f, "Pass fewer.")
            drawn = stream(STREAM, self.seed, *keys).choice(n, f, replace=False)
            self._drawn = frozenset(nodes[i] for i in drawn)
        return self._drawn

    def count(self, n: int) -> int:
        """Return how many of n nodes are drawn. A share is rounded to a whole number, halves up."""
        if is_whole(self.byzantine):
            return int(self.byzantine)
        return floor(float(self.byzantine) * n + 0.5)

    def check(self, chosen: frozenset[Node], there: Collection[Node]) -> None:
        """Raise if a named node is not there.

        Raises
        ------
        ParameterError
            If a node is missing. The error names it, and the nodes that are there.
        """
        missing = [node for node in chosen if node not in there]
        if missing:
            shown = ", ".join(map(str, list(there)[:5])) + (", ..." if len(there) > 5 else "")
            raise wrong(
                "byzantine",
                f"some of the nodes {shown}",
                self.byzantine,
                self.advice,
                found=f"{missing[0]!r}, which is none of them",
            )

    def _as_nodes(self, nodes: Any) -> list[Node]:
        try:
            return [self.as_node(node) for node in nodes]
        except (TypeError, ValueError) as error:
            raise wrong("byzantine", EXPECTED, self.byzantine, self.advice) from error


def drawn(clients: int, byzantine: int, seed: int) -> set[int]:
    """The nodes that attack in runs with a seed, if the nodes have the ids 1, 2 and so on.

    Parameters
    ----------
    clients, byzantine : int
        How many nodes there are, and how many of them attack.
    seed : int
        Decides who is drawn.

    Examples
    --------
    >>> drawn(10, 2, seed=0) == drawn(10, 2, seed=0)
    True
    """
    nodes = range(1, clients + 1)
    chosen = Placement(byzantine, seed, False, "", int).of_round(nodes, 1)
    return {node for node in nodes if node in chosen}
