"""The only code that touches d-dimensional data: pairwise distances, mixing and column reduction."""

from flwr_byzantine.kernels.columns import Columns
from flwr_byzantine.kernels.loops import Reduction, combine, pairwise_distances
from flwr_byzantine.kernels.threads import num_threads

__all__ = ["Columns", "Reduction", "combine", "num_threads", "pairwise_distances"]
