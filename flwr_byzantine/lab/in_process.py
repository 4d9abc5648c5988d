"""Federations in one process, without Ray. Apps and messages are the same, at several times the speed."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterable, Mapping
from itertools import count
from typing import Any, cast

from flwr.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Context,
    Error,
    Message,
    MetricRecord,
    RecordDict,
)
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from flwr_byzantine.checks import require_whole

Record = ArrayRecord | ConfigRecord | MetricRecord

RUN_ID = 1
PATIENCE = (
    20  # times in a row that a server asks for the nodes; Flower's strategies do so once a second
)


class Asked:
    """Counts how often a server asks for the nodes without sending anything.

    Parameters
    ----------
    nodes : int
        How many nodes there are.
    """

    def __init__(self, nodes: int) -> None:
        self.nodes, self._server, self._times = nodes, threading.get_ident(), 0

    def again(self) -> None:
        """Count a question of the server's own thread. Raise a TimeoutError if there were too many."""
        if threading.get_ident() == self._server:
            self._times += 1
            if self._times > PATIENCE:
                raise TimeoutError(too_many(self.nodes))

    def sent(self) -> None:
        """Count from zero again, because the server did something else."""
        self._times = 0


def too_many(nodes: int, wanted: int | None = None) -> str:
    """Say that a server waits for more nodes than there are."""
    more = f"more than {nodes}" if wanted is None else f"{wanted}"
    return f"the server waits for {more} nodes, but there are only {nodes}"


class InProcessGrid(Grid):
    """Hands each message to a ``ClientApp`` in this process, one after the other.

    A node gets its own copy of a message, as if the message had come over a network. The state of the node's
    context lasts from message to message.

    Parameters
    ----------
    app : flwr.clientapp.ClientApp
        What every node runs.
    num_nodes : int
        The number of nodes. Their ids are 1, 2 and so on, their partition-ids one less.
    run_config : Mapping[str, Any], optional
        The app's configuration, as its ``context.run_config`` holds it.

    Raises
    ------
    ValueError
        If there is no node.
    """

    def __init__(
        self, app: ClientApp, num_nodes: int, run_config: Mapping[str, Any] | None = None
    ) -> None:
        require_whole("num_nodes", num_nodes, 1, "Count the nodes.")
        self.app = app
        self.contexts = {
            i + 1: Context(
                RUN_ID,
                i + 1,
                {"partition-id": i, "num-partitions": num_nodes},
                RecordDict(),
                dict(run_config or {}),
            )
            for i in range(num_nodes)
        }
        self._run = Run.create_empty(RUN_ID)
        self._lock = threading.Lock()  # the legacy server has a thread for each client
        self._asked = Asked(num_nodes)
        self._ids = count(1)
        self._replies: dict[str, Message] = {}

    def set_run(self, run: Run) -> None:
        """Set the run."""
        self._run = run

    @property
    def run(self) -> Run:
        """Run information."""
        return self._run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """Create a message."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """Get node IDs.

        Raises
        ------
        TimeoutError
            If the server goes on asking and sends nothing. It then waits for nodes that will never come.
        """
        self._asked.again()
        return list(self.contexts)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Let the nodes answer, and keep the replies until they are pulled."""
        pushed = []
        self._asked.sent()
        for message in messages:
            with self._lock:
                pushed.append(str(next(self._ids)))
                vars(message.metadata)["_message_id"] = pushed[-1]  # as a SuperLink does
                self._replies[pushed[-1]] = self._answer(message)
        return pushed

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Take the replies that are there."""
        with self._lock:
            return [self._replies.pop(key) for key in list(message_ids) if key in self._replies]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Send messages and return their replies, which are there at once."""
        return self.pull_messages(self.push_messages(messages))

    def _answer(self, message: Message) -> Message:
        """The reply of a node, or the error with which it ended."""
        sent = copy.copy(message)
        sent.content = own_records(message.content)
        try:
            context = self.contexts[message.metadata.dst_node_id]
        except KeyError:
            return Message(Error(ErrorCode.NODE_UNAVAILABLE, "no such node"), reply_to=message)
        try:
            reply: Message = self.app(sent, context)
        except (Exception, SystemExit) as error:  # an app may call `sys.exit`
            reason = f"{type(error).__name__}: {error}"
            return Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, reason), reply_to=message)
        if reply.has_content():
            reply.content = own_records(reply.content)
        return reply


def own_records(content: RecordDict) -> RecordDict:
    """New records with the same values. They share the bytes of arrays, which nothing changes."""
    return RecordDict({name: _own_record(record) for name, record in content.items()})


def _own_record(record: Record) -> Record:
    """A new record with copies of all values that can change."""
    own: Any = record.copy()
    for name, value in record.items():
        if isinstance(value, Array | list):  # numbers, text and bytes never change
            own[name] = copy.copy(value)
    return cast(Record, own)


def as_running_task() -> None:
    """Act as a task of a run, because only then Flower lets code make messages."""
    TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = RUN_ID, 1, 1


def server_context(run_config: Mapping[str, Any] | None = None, run_id: int = RUN_ID) -> Context:
    """The context of the ServerApp."""
    return Context(run_id, 0, {}, RecordDict(), dict(run_config or {}))
