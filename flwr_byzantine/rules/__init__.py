"""Robust aggregation rules: pure functions of n updates, independent of Flower and torch."""

from flwr_byzantine.rules.base import Rule
from flwr_byzantine.rules.bulyan import Bulyan, MultiBulyan
from flwr_byzantine.rules.coordinatewise import Median, Phocas, TrimmedMean
from flwr_byzantine.rules.krum import Krum, MultiKrum
from flwr_byzantine.rules.mean import Mean

__all__ = [
    "Bulyan",
    "Krum",
    "Mean",
    "Median",
    "MultiBulyan",
    "MultiKrum",
    "Phocas",
    "Rule",
    "TrimmedMean",
]
