"""The only code that reads d-dimensional data: distances, inner products, sizes, mixing, reduction."""

from flwr_byzantine.kernels.checks import Reduction, check_mixing, check_reduction
from flwr_byzantine.kernels.columns import Columns
from flwr_byzantine.kernels.loops import (
    check_environment,
    combine,
    inner_products,
    pairwise_distances,
    row_sizes,
)
from flwr_byzantine.kernels.threads import num_threads

__all__ = [
    "Columns",
    "Reduction",
    "check_environment",
    "check_mixing",
    "check_reduction",
    "combine",
    "inner_products",
    "num_threads",
    "pairwise_distances",
    "row_sizes",
]
