"""Byzantine-robust aggregation for Flower: the strategies of the ``aggregate_fit`` API.

Their counterparts for the Message API have the same names in :mod:`flwr_byzantine.serverapp`; the rules
alone are in :mod:`flwr_byzantine.rules`, the attacks in :mod:`flwr_byzantine.attacks`, and clients that
misbehave in :mod:`flwr_byzantine.clients`. Nothing is loaded before it is used, so rules and attacks need
neither Flower nor torch.
"""

from typing import TYPE_CHECKING, Any

from flwr_byzantine import _moved

if TYPE_CHECKING:
    from flwr_byzantine.aggregation.outcome import TooFewUpdatesError
    from flwr_byzantine.strategies.fit_strategies import (
        Bulyan,
        ByGARS,
        ByGARSPlusPlus,
        ByzantineRobust,
        FedMedian,
        FedTrimmedAvg,
        FLTrust,
        Krum,
        Mean,
        Median,
        MultiBulyan,
        MultiKrum,
        Phocas,
        TrimmedMean,
    )

__all__ = [
    "Bulyan",
    "ByGARS",
    "ByGARSPlusPlus",
    "ByzantineRobust",
    "FLTrust",
    "FedMedian",
    "FedTrimmedAvg",
    "Krum",
    "Mean",
    "Median",
    "MultiBulyan",
    "MultiKrum",
    "Phocas",
    "TooFewUpdatesError",
    "TrimmedMean",
]

_moved.install()


def __getattr__(name: str) -> Any:
    """Load a public name when it is first asked for (PEP 562)."""
    if name == "__version__":
        from importlib.metadata import version

        return version("flwr-byzantine")
    if name == "TooFewUpdatesError":
        from flwr_byzantine.aggregation import outcome

        return outcome.TooFewUpdatesError
    if name in __all__:
        from flwr_byzantine.strategies import fit_strategies

        return getattr(fit_strategies, name)
    if name in _moved.MOVED:
        from importlib import import_module

        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names."""
    return sorted([*globals(), *__all__, "__version__"])
