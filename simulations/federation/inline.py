"""Federations in one process, without Ray: the same apps and messages, several times the speed.

A sweep runs hundreds of small federations, and Ray's transport of a message costs more than a client's
minibatch. Here the server's messages go to Flower's ``ClientApp`` directly. Clients depend on nothing but
(seed, client, round), so models are those of Ray's engine, bit for bit; the tests compare them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from uuid import uuid4

from flwr.app import Context, Error, Message, RecordDict
from flwr.app.user_config import UserConfig
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

RUN_ID = 1


class InlineGrid(Grid):
    """Hand each message to a ClientApp in this process, one after the other.

    Parameters
    ----------
    app : ClientApp
        What every node runs.
    clients : int
        The number of nodes; their partition-ids are 0, 1, and so on.
    """

    def __init__(self, app: ClientApp, clients: int) -> None:
        self.app = app
        self.contexts = {
            node_id: _context(node_id, {"partition-id": node_id - 1, "num-partitions": clients})
            for node_id in range(1, clients + 1)
        }
        self._run = Run.create_empty(RUN_ID)
        self._lock = threading.Lock()  # the legacy server has a thread for each client
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
        """Get node IDs."""
        return list(self.contexts)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Let the clients answer; the replies wait to be pulled."""
        pushed = []
        for message in messages:
            with self._lock:
                reply = self._answer(message)
                pushed.append(str(uuid4()))
                self._replies[pushed[-1]] = reply
        return pushed

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Take the replies that are there."""
        with self._lock:
            return [self._replies.pop(key) for key in list(message_ids) if key in self._replies]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Send messages and return their replies; there is nothing to wait for."""
        return self.pull_messages(self.push_messages(messages))

    def _answer(self, message: Message) -> Message:
        """The reply of a client, or the error that it ended with."""
        try:
            return self.app(message, self.contexts[message.metadata.dst_node_id])
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            return Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, reason), reply_to=message)


def run_inline(serve: Callable[[Grid, Context], None], app: ClientApp, clients: int) -> None:
    """Run a server function against clients in this process.

    Parameters
    ----------
    serve : callable
        Called with the grid and the server's context.
    app : ClientApp
        What every node runs.
    clients : int
        The number of nodes.
    """
    TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = RUN_ID, 1, 1
    serve(InlineGrid(app, clients), _context(0, {}))


def _context(node_id: int, node_config: UserConfig) -> Context:
    return Context(RUN_ID, node_id, node_config, RecordDict(), {})
