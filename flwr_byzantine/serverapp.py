"""The strategies of Flower's Message API (``aggregate_train``)."""
# mypy: implicit-reexport

from flwr_byzantine.strategies import message_strategies
from flwr_byzantine.strategies.message_strategies import *  # noqa: F403

globals()["__all__"] = vars(message_strategies)["__all__"]
