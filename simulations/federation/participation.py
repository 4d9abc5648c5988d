"""Rounds that ask only some clients. The run's seed draws them, because Flower's own draw has no seed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, Message
from flwr.common import GetPropertiesIns
from flwr.common.constant import MessageTypeLegacy
from flwr.compat.common.recorddict_compat import (
    getpropertiesins_to_recorddict,
    recorddict_to_getpropertiesres,
)
from flwr.server import ClientManager, SimpleClientManager
from flwr.serverapp import Grid

from flwr_byzantine.strategies.passing_grid import PassingGrid
from simulations.config import RunConfig

Numbers = Mapping[int, int]  # the number of each node's client


def client_numbers(grid: Grid) -> dict[int, int]:
    """Ask every node for the number of its client, and return the answers by node.

    Raises
    ------
    RuntimeError
        If a node does not answer.
    """
    question = getpropertiesins_to_recorddict(GetPropertiesIns({}))
    asked = [
        Message(question, node, MessageTypeLegacy.GET_PROPERTIES) for node in grid.get_node_ids()
    ]
    numbers = {}
    for reply in grid.send_and_receive(asked):
        if reply.has_error():
            raise RuntimeError(
                "Every client should report its `partition-id` when it is asked for its properties. Found an "
                f"error: {reply.error.reason}. Correct the client, or leave `clients_per_round` out."
            )
        told = recorddict_to_getpropertiesres(reply.content).properties
        numbers[reply.metadata.src_node_id] = int(told["partition-id"])
    if len(numbers) != len(asked):
        raise RuntimeError(
            "Every client should report its `partition-id` when it is asked for its properties. Found "
            f"{len(asked) - len(numbers)} clients that did not answer. Start them again."
        )
    return numbers


def ask_some_nodes(strategy: Any, config: RunConfig, numbers: Numbers) -> None:
    """Let a strategy of the Message API ask only the clients that are drawn for each round."""
    configure = strategy.configure_train

    def configure_train(
        server_round: int, arrays: ArrayRecord, train_config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        some = _Some(grid, _asked(config, numbers, server_round))
        messages: Iterable[Message] = configure(server_round, arrays, train_config, some)
        return messages

    strategy.configure_train = configure_train


def ask_some_clients(strategy: Any, config: RunConfig, numbers: Numbers) -> None:
    """Do the same for a strategy of the ``aggregate_fit`` API."""
    configure = strategy.configure_fit

    def configure_fit(server_round: int, parameters: Any, client_manager: ClientManager) -> Any:
        asked = _asked(config, numbers, server_round)
        some = SimpleClientManager()
        for name, proxy in client_manager.all().items():
            if int(name) in asked:
                some.register(proxy)
        return configure(server_round, parameters, some)

    strategy.configure_fit = configure_fit


def _asked(config: RunConfig, numbers: Numbers, server_round: int) -> frozenset[int]:
    """The nodes that a round asks."""
    clients = config.who.asked_in(server_round)
    return frozenset(node for node, number in numbers.items() if number in clients)


class _Some(PassingGrid):
    """A grid that shows only some of the nodes."""

    def __init__(self, grid: Grid, nodes: frozenset[int]) -> None:
        super().__init__(grid)
        self.nodes = nodes

    def get_node_ids(self) -> Iterable[int]:
        """Get node IDs."""
        return [node for node in self.grid.get_node_ids() if node in self.nodes]
