"""A baseline for rules, which no real server has: the average of the clients that really are benign."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flwr_byzantine.reputation.rows import WeightedSum
from simulations.catalog.placement import byzantine_clients


def benign_mean(
    clients: int, byzantine: int, seed: int, placement: str = "first", redraw: bool = False
) -> WeightedSum:
    """Return the rule that averages the benign clients of a run, in the order of their numbers.

    All clients take part in every round, so client i sends the i-th update.

    Parameters
    ----------
    clients, byzantine : int
        The number of clients, and how many of them are Byzantine.
    seed : int
        The seed of the run.
    placement : {"first", "drawn"}
        Which clients are Byzantine.
    redraw : bool (default: False)
        Whether Byzantine clients are drawn anew in every round.

    Raises
    ------
    ValueError
        If no client is benign, or if Byzantine clients are drawn anew in every round.

    References
    ----------
    Regatti, Chen, Gupta 2020, ByGARS, section 5: "Baseline".

    Examples
    --------
    >>> benign_mean(clients=3, byzantine=1, seed=0)
    WeightedSum(q=(0.0, 0.5, 0.5))
    """
    benign = clients - byzantine
    if redraw or benign == 0:
        raise ValueError(
            "Parameter `rule` should not be `baseline` if no client is benign, or if each round draws its "
            f"Byzantine clients. Found `byzantine = {byzantine}` of {clients} and `redraw = "
            f"{redraw}`. Compare with `mean` without an attack."
        )
    attackers = byzantine_clients(clients, byzantine, seed, placement)
    return WeightedSum(tuple((i not in attackers) / benign for i in range(clients)))


def check_baseline(
    rule_args: Mapping[str, Any], clients: int, byzantine: int, redraw: bool
) -> None:
    """Raise ValueError if there is no baseline, or if ``rule_args`` are given."""
    if rule_args:
        raise ValueError(
            "Parameter `rule_args` should be empty for the rule `baseline`. "
            f"Found `rule_args = {rule_args}`. It has no arguments."
        )
    benign_mean(clients, byzantine, seed=0, redraw=redraw)
