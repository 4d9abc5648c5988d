"""The ``ClientApp`` that SuperNodes run. It answers servers of both of Flower's APIs."""

from flwr.app import Context
from flwr.client import Client
from flwr.clientapp import ClientApp

from clients.nodes import configured_client
from flwr_byzantine.clients import serve_both_apis


def client_fn(context: Context) -> Client:
    """Build the client that this node's configuration asks for."""
    return configured_client(context.node_config).to_client()


app = ClientApp(client_fn=client_fn, mods=[serve_both_apis])
