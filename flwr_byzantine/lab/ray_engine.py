"""Several runs of an app on Flower's Ray engine, one after the other. The engine starts once."""

from __future__ import annotations

import copy
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from flwr.app import ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid

from flwr_byzantine.lab.flower_app import load_client_app
from flwr_byzantine.lab.on_data.node import OnDataApp
from flwr_byzantine.lab.prompt_grid import POLL, PromptGrid
from flwr_byzantine.lab.scratch import PREFIX, inside
from flwr_byzantine.lab.simulation import simulate

Serve = Callable[[int, Grid], None]

CELL = "flwr-byzantine-cell"  # the record in which a node keeps to which run its state belongs
WHO = "who"  # in place of a cell: the message asks for the number of the node
PARTITION = "partition-id"


def run_on_ray(
    serve: Serve,
    app: ClientApp | str,
    configs: Sequence[Mapping[str, Any]],
    clients: int,
    *,
    at_once: int | None = None,
    verbose: bool = False,
) -> None:
    """Serve several runs of an app, one after the other.

    Parameters
    ----------
    serve : Callable
        ``serve(number, grid)`` is the server's half of a run.
    app : flwr.clientapp.ClientApp or str
        What every node runs, or the folder from which Ray's processes import it.
    configs : Sequence[Mapping[str, Any]]
        The run configuration of each run.
    clients : int
        The number of nodes.
    at_once : int or None
        How many nodes work at once. None means as many as there are cores.
    verbose : bool
        Whether to show what Flower and the app log and print.

    Raises
    ------
    Exception
        What ``serve`` raises. If the engine fails, a RuntimeError or OSError.
    """
    folders = tempfile.mkdtemp(prefix=PREFIX) if isinstance(app, str) else None

    def serve_all(grid: PromptGrid, _: Context) -> None:
        nodes = nodes_by_partition(grid)
        for number in range(len(configs)):
            folder = None if folders is None else os.path.join(folders, str(number))
            cell = CellGrid(grid, str(number), nodes, folder)
            try:
                serve(number, cell)
            except InterruptedError:
                raise
            except Exception as error:
                raise _CallerError(error) from error
            cell.drain()  # InterruptedError if the simulation has ended
            shutil.rmtree(folder or "", ignore_errors=True)

    try:
        simulate(serve_all, CellApp(app, configs, folders), clients, verbose, at_once)
    except _CallerError as error:
        raise error.error from None
    finally:
        shutil.rmtree(folders or "", ignore_errors=True)


class _CallerError(Exception):
    """The caller's function raised an error. The engine did not fail."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class CellApp(ClientApp):
    """A node that takes part in several runs of an app. Each run begins with an empty state.

    The group of a message says to which run it belongs. The app sees the group that its server chose.

    Parameters
    ----------
    source : str or flwr.clientapp.ClientApp
        The app, or the folder from which the node's process imports it.
    configs : Sequence[Mapping[str, Any]]
        The app's configuration in each run. The engine itself holds one configuration only.
    folders : str or None
        A folder that holds the current folder of each run, under the run's name.
    """

    def __init__(
        self,
        source: str | ClientApp,
        configs: Sequence[Mapping[str, Any]],
        folders: str | None = None,
    ) -> None:
        super().__init__()
        self.source, self.folders = source, folders
        self.configs = [dict(config) for config in configs]

    def __call__(self, message: Message, context: Context) -> Message:
        """Answer a message of a run."""
        cell, _, group = message.metadata.group_id.partition(":")
        if cell == WHO:
            number = MetricRecord({PARTITION: int(context.node_config[PARTITION])})
            return Message(RecordDict({PARTITION: number}), reply_to=message)
        message.metadata.group_id = group
        own = Context(
            context.run_id,
            context.node_id,
            dict(context.node_config),
            _state_of(context.state, cell),
            dict(self.configs[int(cell)]),
        )
        with inside(None if self.folders is None else os.path.join(self.folders, cell)):
            app = (
                OnDataApp(self.source)
                if isinstance(self.source, ClientApp)
                else _imported(self.source, cell)
            )
            reply: Message = app(message, own)
        context.state = RecordDict({**own.state, CELL: ConfigRecord({CELL: cell})})
        return reply


@lru_cache(maxsize=1)
def _imported(folder: str, cell: str) -> ClientApp:
    """The app that nodes run, imported anew for each run."""
    return OnDataApp(load_client_app(folder))


def _state_of(kept: RecordDict, cell: str) -> RecordDict:
    """The state that a node keeps for a run; empty if its last run was another one."""
    mark = kept.config_records.get(CELL)
    if mark is None or mark[CELL] != cell:
        return RecordDict()
    return RecordDict({name: record for name, record in kept.items() if name != CELL})


def nodes_by_partition(grid: PromptGrid) -> dict[int, int]:
    """The ids that nodes have in one process (1, 2 and so on) -> the ids that the engine drew.

    With them the attackers are the same nodes on both engines, and at each start of the Ray engine.
    """
    asked = [
        Message(RecordDict(), node, "query", group_id=f"{WHO}:") for node in grid.get_node_ids()
    ]
    nodes = {}
    for reply in grid.send_and_receive(asked):
        if reply.has_error():
            raise RuntimeError(reply.error.reason)
        nodes[int(reply.content.metric_records[PARTITION][PARTITION]) + 1] = (  # type: ignore[arg-type]
            reply.metadata.src_node_id
        )
    return dict(sorted(nodes.items()))


class CellGrid(PromptGrid):
    """The nodes of one run, with the ids that they have in one process.

    Parameters
    ----------
    grid : PromptGrid
        The grid of the simulation.
    cell : str
        The name of the run.
    nodes : Mapping[int, int]
        Ids here -> ids there.
    folder : str or None
        The current folder of the run.
    """

    def __init__(
        self, grid: PromptGrid, cell: str, nodes: Mapping[int, int], folder: str | None = None
    ) -> None:
        super().__init__(grid, grid.stopped)
        self.cell, self.nodes, self.folder = cell, nodes, folder
        self._back = {there: here for here, there in nodes.items()}
        self._open: set[str] = set()

    def get_node_ids(self) -> Iterable[int]:
        """Get node IDs."""
        return list(self.nodes)

    def get_nodes(self) -> Iterable[Any]:
        """Get nodes."""
        nodes = list(super().get_nodes())
        for node in nodes:
            node.node_id = self._back[node.node_id]
        return nodes

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send messages."""
        pushed: list[str] = []
        for message in messages:
            sent = copy.copy(message)
            metadata = vars(sent)["_metadata"] = copy.copy(message.metadata)
            metadata.group_id = f"{self.cell}:{metadata.group_id}"
            metadata.dst_node_id = self.nodes.get(metadata.dst_node_id, metadata.dst_node_id)
            pushed += super().push_messages([sent])
            vars(message.metadata)["_message_id"] = metadata.message_id
        self._open.update(pushed)
        return pushed

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Take the replies that are there."""
        replies = list(super().pull_messages(message_ids))
        for reply in replies:
            metadata = reply.metadata
            self._open.discard(metadata.reply_to_message_id)
            source = metadata.src_node_id
            vars(metadata)["_src_node_id"] = self._back.get(source, source)
            metadata.group_id = metadata.group_id.removeprefix(f"{self.cell}:")
        return replies

    def drain(self) -> None:
        """Wait for all remaining replies, so that no node still works for this run."""
        self.go_on()
        while self._open:
            self.pull_messages(set(self._open))
            self.go_on(POLL)
