"""Byzantine-robust aggregation for Flower: the strategies of the ``aggregate_fit`` API.

Their counterparts for the Message API have the same names in :mod:`flwr_byzantine.serverapp`; the rules
alone are in :mod:`flwr_byzantine.rules`.
"""

from flwr_byzantine.outcome import TooFewUpdatesError
from flwr_byzantine.strategy import (
    Bulyan,
    ByGARS,
    ByGARSPlusPlus,
    ByzantineRobust,
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
    "Krum",
    "Mean",
    "Median",
    "MultiBulyan",
    "MultiKrum",
    "Phocas",
    "TooFewUpdatesError",
    "TrimmedMean",
]
