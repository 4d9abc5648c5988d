"""Robust aggregation rules: pure functions of n updates, independent of Flower and torch."""

from flwr_byzantine.rules.base import Rule as Rule
from flwr_byzantine.rules.bulyan import Bulyan as Bulyan
from flwr_byzantine.rules.bulyan import MultiBulyan as MultiBulyan
from flwr_byzantine.rules.coordinatewise import MeaMed as MeaMed
from flwr_byzantine.rules.coordinatewise import Median as Median
from flwr_byzantine.rules.coordinatewise import Phocas as Phocas
from flwr_byzantine.rules.coordinatewise import TrimmedMean as TrimmedMean
from flwr_byzantine.rules.geometric_median import GeometricMedian as GeometricMedian
from flwr_byzantine.rules.krum import Krum as Krum
from flwr_byzantine.rules.krum import MultiKrum as MultiKrum
from flwr_byzantine.rules.mean import Mean as Mean
from flwr_byzantine.rules.medoid import Medoid as Medoid

# All is public that is imported `as` itself.
globals()["__all__"] = [
    name for name, thing in [*globals().items()] if callable(thing) and name[0] != "_"
]
