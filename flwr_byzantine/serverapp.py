"""Flower's Message API: its strategies (``aggregate_train``), and a rule around any of its apps."""
# mypy: implicit-reexport

from flwr_byzantine.audit.suspicion import Suspicion as Suspicion
from flwr_byzantine.strategies import message_strategies
from flwr_byzantine.strategies.message_strategies import *  # noqa: F403
from flwr_byzantine.strategies.robust_grid import RobustGrid

globals()["__all__"] = [*vars(message_strategies)["__all__"], RobustGrid.__name__]
