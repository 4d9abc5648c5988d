"""All runs of an app one after the other on Flower's Ray engine, which is started once."""

from __future__ import annotations

import copy
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

from flwr.app import ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from flwr_byzantine.checks import require, wrong
from flwr_byzantine.lab.cell import Federation, Run, run_cell
from flwr_byzantine.lab.flower_app import FlowerApp, load_client_app
from flwr_byzantine.lab.prompt_grid import POLL, PromptGrid
from flwr_byzantine.lab.scratch import PREFIX, inside
from flwr_byzantine.lab.simulation import quiet, simulate

INLINE, RAY = "inline", "ray"
ENGINES = (INLINE, RAY)
CELL = "flwr-byzantine-cell"  # the record in which a node keeps whose state the rest is
WHO = "who"  # in place of a cell: the number of the node is asked
PARTITION = "partition-id"
OTHERWISE = f'Take `engine="{INLINE}"`'


def require_engine(engine: str) -> None:
    """Raise unless an engine is one of ours and can be started."""
    require(engine in ENGINES, "engine", " or ".join(map(repr, ENGINES)), engine, OTHERWISE + ".")
    if engine == RAY and find_spec("ray") is None:
        advice = f"Run `pip install 'flwr-byzantine[lab]'`. {OTHERWISE} to do without."
        raise wrong("engine", f"{INLINE!r} where Ray is not installed", engine, advice)


def run_on_ray(
    app: Any,
    loaded: FlowerApp,
    pairs: Sequence[tuple[str, str]],
    federation: Federation,
    on_run: Callable[[Run], None],
    *,
    at_once: int | None = None,
    verbose: bool = False,
) -> None:
    """Run an app for each pair of rule and attack.

    Parameters
    ----------
    app : str, Path or FlowerApp
        Where the processes of Ray import the app from; those of an app that is no folder get a copy.
    loaded : FlowerApp
        The app.
    pairs : Sequence[tuple[str, str]]
        Rule and attack of each run.
    federation : Federation
        Who takes part.
    on_run : Callable
        Called with each run as soon as it ends.
    at_once : int or None
        How many nodes work at once; None takes as many as there are cores.
    verbose : bool
        Whether what Flower and the app log and print is shown.

    Raises
    ------
    ValueError
        If the engine fails.
    """
    source = loaded.folder or loaded.client
    config = {**loaded.config, **federation.config}
    folders = tempfile.mkdtemp(prefix=PREFIX)

    def serve(grid: PromptGrid, _: Context) -> None:
        nodes = nodes_by_partition(grid)
        for number, pair in enumerate(pairs):
            cell = CellGrid(grid, str(number), nodes, os.path.join(folders, str(number)))
            with quiet(verbose):
                run = run_cell(loaded, *pair, federation, cell)
                cell.drain()  # InterruptedError if the simulation has ended
            shutil.rmtree(cell.folder or "", ignore_errors=True)
            try:
                on_run(run)
            except Exception as error:
                raise _CallerError(error) from error

    try:
        node = CellApp(source, config, folders)
        simulate(serve, node, federation.clients, verbose, at_once)
    except _CallerError as error:
        raise error.error from None
    except (RuntimeError, OSError) as error:
        reason = " ".join(str(error.__cause__ or error).split())
        found = f"`engine = {RAY!r}`, which failed: {reason}"
        raise wrong("engine", "one that works here", RAY, OTHERWISE + ".", found=found) from error
    finally:
        shutil.rmtree(folders, ignore_errors=True)


class _CallerError(Exception):
    """What a caller's function raised, for whose fault the engine is not to be taken."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class CellApp(ClientApp):
    """A node of several runs of an app, each of which begins with an empty state.

    The group of a message says which run it belongs to; the app is given the group that its server chose.

    Parameters
    ----------
    source : str or flwr.clientapp.ClientApp
        The app, or the folder that it is imported from where it runs.
    config : Mapping[str, Any]
        The app's configuration, which the engine has no place for.
    folders : str or None
        Where each run has its current folder, under the run's name.
    """

    def __init__(
        self, source: str | ClientApp, config: Mapping[str, Any], folders: str | None = None
    ) -> None:
        super().__init__()
        self.source, self.config, self.folders = source, dict(config), folders

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
            dict(self.config),
        )
        with inside(None if self.folders is None else os.path.join(self.folders, cell)):
            app = (
                self.source if isinstance(self.source, ClientApp) else _imported(self.source, cell)
            )
            reply: Message = app(message, own)
        context.state = RecordDict({**own.state, CELL: ConfigRecord({CELL: cell})})
        return reply


@lru_cache(maxsize=1)
def _imported(folder: str, cell: str) -> ClientApp:
    """What nodes run, imported anew for each run."""
    return load_client_app(folder)


def _state_of(kept: RecordDict, cell: str) -> RecordDict:
    """What a node keeps of a run, if it is the one that it was in last."""
    mark = kept.config_records.get(CELL)
    if mark is None or mark[CELL] != cell:
        return RecordDict()
    return RecordDict({name: record for name, record in kept.items() if name != CELL})


def nodes_by_partition(grid: PromptGrid) -> dict[int, int]:
    """The ids that nodes have in one process (1, 2 and so on) -> those that the engine drew.

    So the attackers are the same nodes on both engines, and in each start of the same one.
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
    """The nodes of one run, under the ids that they have in one process.

    Parameters
    ----------
    grid : PromptGrid
        The grid of the simulation.
    cell : str
        The name of the run.
    nodes : Mapping[int, int]
        Ids here -> ids there.
    folder : str or None
        Where the run has its current folder.
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
        """Wait for replies that nobody waited for, so that no node still works for this run."""
        self.go_on()
        while self._open:
            self.pull_messages(set(self._open))
            self.go_on(POLL)
