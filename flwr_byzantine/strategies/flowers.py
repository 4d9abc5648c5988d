"""Checks of those keywords of a strategy that are Flower's own, because FedAvg itself checks none of them."""

from collections.abc import Mapping
from typing import Any

from flwr_byzantine.checks import is_number, require, require_bool, require_whole

FRACTIONS = ("fraction_fit", "fraction_train", "fraction_evaluate")
MINIMUMS = ("min_evaluate_clients", "min_evaluate_nodes")
FUNCTIONS = (
    "evaluate_fn", "on_fit_config_fn", "on_evaluate_config_fn",
    "fit_metrics_aggregation_fn", "evaluate_metrics_aggregation_fn",
    "train_metrics_aggr_fn", "evaluate_metrics_aggr_fn",
)  # fmt: skip
SWITCHES = ("accept_failures", "inplace")
KEYS = ("weighted_by_key", "arrayrecord_key", "configrecord_key")


def check_flowers(given: Mapping[str, Any], owner: str) -> None:
    """Raise ParameterError if a keyword of FedAvg would let every round fail.

    Parameters
    ----------
    given : Mapping[str, Any]
        The keywords that the user passed.
    owner : str
        The name of the strategy.
    """
    for name in FRACTIONS & given.keys():
        share = given[name]
        holds = is_number(share) and not isinstance(share, bool) and 0 <= share <= 1
        advice = "Pass the share of the clients to ask, such as 0.5."
        require(holds, name, "a number from 0 to 1", share, advice, owner=owner)
    for name in MINIMUMS & given.keys():
        require_whole(name, given[name], 0, "Leave it out for Flower's 2.", owner=owner)
    for name in FUNCTIONS & given.keys():
        function = given[name]
        holds = function is None or callable(function)
        require(holds, name, "a function, or None", function, "Pass a function.", owner=owner)
    for name in SWITCHES & given.keys():
        require_bool(name, given[name])
    for name in KEYS & given.keys():
        holds = isinstance(given[name], str)
        require(holds, name, "a text", given[name], "Pass the key as text.", owner=owner)
