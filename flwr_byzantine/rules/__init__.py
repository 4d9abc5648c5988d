"""Robust aggregation rules: pure functions of n updates, independent of Flower and torch."""

from flwr_byzantine.rules.base import Rule
from flwr_byzantine.rules.bucketing import Bucketing
from flwr_byzantine.rules.bulyan import Bulyan, MultiBulyan
from flwr_byzantine.rules.centered_clipping import CenteredClipping
from flwr_byzantine.rules.clipping import AdaptiveClipping, Clipping
from flwr_byzantine.rules.composition import Composition, PreAggregation
from flwr_byzantine.rules.coordinatewise import Median, Phocas, TrimmedMean
from flwr_byzantine.rules.krum import Krum, MultiKrum
from flwr_byzantine.rules.mean import Mean
from flwr_byzantine.rules.nearest_neighbor_mixing import NearestNeighborMixing

__all__ = [
    "AdaptiveClipping",
    "Bucketing",
    "Bulyan",
    "CenteredClipping",
    "Clipping",
    "Composition",
    "Krum",
    "Mean",
    "Median",
    "MultiBulyan",
    "MultiKrum",
    "NearestNeighborMixing",
    "Phocas",
    "PreAggregation",
    "Rule",
    "TrimmedMean",
]
