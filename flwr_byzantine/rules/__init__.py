"""Robust aggregation rules: pure functions of n updates, independent of Flower and torch."""

from flwr_byzantine.rules.assumed import assumed_byzantine as assumed_byzantine
from flwr_byzantine.rules.base import Rule as Rule
from flwr_byzantine.rules.bucketing import Bucketing as Bucketing
from flwr_byzantine.rules.bulyan import Bulyan as Bulyan
from flwr_byzantine.rules.bulyan import MultiBulyan as MultiBulyan
from flwr_byzantine.rules.centered_clipping import CenteredClipping as CenteredClipping
from flwr_byzantine.rules.checking import BrokenRuleError as BrokenRuleError
from flwr_byzantine.rules.checking import check_rule as check_rule
from flwr_byzantine.rules.clipping import AdaptiveClipping as AdaptiveClipping
from flwr_byzantine.rules.clipping import Clipping as Clipping
from flwr_byzantine.rules.composition import Composition as Composition
from flwr_byzantine.rules.coordinatewise import MeaMed as MeaMed
from flwr_byzantine.rules.coordinatewise import Median as Median
from flwr_byzantine.rules.coordinatewise import Phocas as Phocas
from flwr_byzantine.rules.coordinatewise import TrimmedMean as TrimmedMean
from flwr_byzantine.rules.distances import Distances as Distances
from flwr_byzantine.rules.geometric_median import GeometricMedian as GeometricMedian
from flwr_byzantine.rules.krum import Krum as Krum
from flwr_byzantine.rules.krum import MultiKrum as MultiKrum
from flwr_byzantine.rules.mean import Mean as Mean
from flwr_byzantine.rules.medoid import Medoid as Medoid
from flwr_byzantine.rules.minimum_diameter import (
    MinimumDiameterAveraging as MinimumDiameterAveraging,
)
from flwr_byzantine.rules.nearest_neighbor_mixing import (
    NearestNeighborMixing as NearestNeighborMixing,
)
from flwr_byzantine.rules.points import Given as Given
from flwr_byzantine.rules.preaggregation import PreAggregation as PreAggregation
from flwr_byzantine.rules.spectral import CovarianceFilter as CovarianceFilter
from flwr_byzantine.rules.spectral import DivideAndConquer as DivideAndConquer
from flwr_byzantine.rules.spectral import SmallestMaximumEigenvalue as SmallestMaximumEigenvalue

# A name is public if it is imported `as` itself.
globals()["__all__"] = [
    name for name, thing in [*globals().items()] if callable(thing) and name[0] != "_"
]
