"""One round of robust aggregation: replies are read, gated, aggregated with a rule, and accounted for."""

from typing import Any


def __getattr__(name: str) -> Any:
    """Load names that an earlier module of the same name had, when somebody asks for them."""
    if name in ("Aggregator", "LearningRate", "Outcome", "TooFewUpdatesError"):
        from flwr_byzantine.aggregation import aggregator

        return getattr(aggregator, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
