"""Federations in one process, without Ray: the same apps and messages, several times the speed.

A sweep runs hundreds of small federations, and Ray's transport of a message costs more than a client's
minibatch. Here the server's messages go to Flower's ``ClientApp`` directly. Clients depend on nothing but
(seed, client, round), so models are those of Ray's engine, bit for bit; the tests compare them.
"""

from __future__ import annotations

from collections.abc import Callable

from flwr.app import Context
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid

from flwr_byzantine.lab.in_process import InProcessGrid, as_running_task, server_context


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
    as_running_task()
    serve(InProcessGrid(app, clients), server_context())
