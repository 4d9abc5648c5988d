"""What no server can do, to compare rules with: average the clients that really are benign."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flwr_byzantine.reputation.rows import WeightedSum
from simulations.attacks import byzantine_clients

if TYPE_CHECKING:
    from simulations.config import RunConfig


def benign_mean(config: RunConfig) -> WeightedSum:
    """Return the rule that averages the benign clients of a run, in the order of their numbers.

    Parameters
    ----------
    config : RunConfig
        The run. All clients take part in every round, so client i sends the i-th update.

    Raises
    ------
    ValueError
        Where no client is benign, or other ones are in every round.

    References
    ----------
    Regatti, Chen, Gupta 2020, ByGARS, section 5: "Baseline".

    Examples
    --------
    >>> from simulations.config import RunConfig
    >>> config = RunConfig(rule="baseline", attack="sign_flip", clients=3, byzantine=1)
    >>> benign_mean(config)
    WeightedSum(q=(0.0, 0.5, 0.5))
    """
    benign = config.clients - config.byzantine
    if config.redraw or benign == 0:
        raise ValueError(
            "Parameter `rule` should not be `baseline` where no client, or another one in every round, "
            f"is benign. Found `byzantine = {config.byzantine}` of {config.clients} and `redraw = "
            f"{config.redraw}`. Compare with `mean` without an attack."
        )
    byzantine = byzantine_clients(config.clients, config.byzantine, config.seed, config.placement)
    return WeightedSum(tuple((i not in byzantine) / benign for i in range(config.clients)))


def arguments(config: RunConfig) -> dict[str, WeightedSum]:
    """Return what the strategy of a run is built with, besides what every strategy is."""
    return {"rule": benign_mean(config)}


def check(config: RunConfig) -> None:
    """Raise ValueError where there is no baseline, or ``rule_args`` are given."""
    if config.rule_args:
        raise ValueError(
            "Parameter `rule_args` should be empty for the rule `baseline`. "
            f"Found `rule_args = {config.rule_args}`. It has no arguments."
        )
    benign_mean(config)
