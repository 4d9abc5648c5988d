"""ByGARS, ByGARS++ and FLTrust, which judge clients on a small data set that the server has."""

from typing import Any


def __getattr__(name: str) -> Any:
    """Load names that an earlier module of the same name had, when somebody asks for them."""
    if name == "ReputationAggregator":
        from flwr_byzantine.reputation.aggregator import ReputationAggregator

        return ReputationAggregator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
