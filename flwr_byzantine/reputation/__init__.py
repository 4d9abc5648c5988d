"""ByGARS, ByGARS++ and FLTrust: how clients do on a small data set of the server's own."""

from typing import Any


def __getattr__(name: str) -> Any:
    """Names of the module that this package was before; loaded when they are asked for."""
    if name == "ReputationAggregator":
        from flwr_byzantine.reputation.aggregator import ReputationAggregator

        return ReputationAggregator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
