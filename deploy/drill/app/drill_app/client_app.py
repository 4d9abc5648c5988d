"""The nodes: honest, malicious by a wrapper of `clients`, or sending what is no model at all."""

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message
from flwr.client import Client, NumPyClient
from flwr.clientapp import ClientApp
from flwr.clientapp.typing import ClientAppCallable

from clients.records import serve_both_apis
from drill_app.task import load, train

Tensors = dict[str, Array]


class DigitsClient(NumPyClient):
    """Trains on the digits of one node."""

    def __init__(self, data: str, node: int) -> None:
        self.x, self.y = load(data)
        self.node = node

    def fit(self, parameters, config):  # type: ignore[no-untyped-def]
        """Train; the round and the node decide the order of the samples."""
        rng = np.random.default_rng([self.node, int(config["server-round"])])
        return train(parameters, self.x, self.y, rng), len(self.y), {}


def client_fn(context: Context) -> Client:
    """Build the client that this node's configuration asks for."""
    node = int(context.node_config["partition-id"])
    client: NumPyClient = DigitsClient(str(context.node_config["data"]), node)
    role = context.node_config["role"]
    if role in ("sign-flip", "gaussian"):
        from clients import MaliciousClient
        from flwr_byzantine.attacks import Gaussian, SignFlip

        attack = SignFlip(scale=10) if role == "sign-flip" else Gaussian(std=10)
        client = MaliciousClient(client, attack, client_id=node)
    return client.to_client()


def malformed(msg: Message, ctxt: Context, call_next: ClientAppCallable) -> Message:
    """Spoil what a malformed node answers, in another way each round: a client mod."""
    server_round = int(next(iter(msg.content.config_records.values()))["server-round"])
    reply = call_next(msg, ctxt)
    if ctxt.node_config["role"] != "malformed" or reply.has_error():
        return reply
    key, record = next(iter(reply.content.array_records.items()))
    spoil = (wrong_shape, tensor_missing, text, garbage)[server_round % 4]
    reply.content[key] = ArrayRecord(spoil(dict(record)))
    return reply


def wrong_shape(tensors: Tensors) -> Tensors:
    """Give one row of each tensor: it would broadcast."""
    return {name: Array(tensor.numpy()[:1]) for name, tensor in tensors.items()}


def tensor_missing(tensors: Tensors) -> Tensors:
    """Leave out the last tensor."""
    return dict(list(tensors.items())[:-1])


def text(tensors: Tensors) -> Tensors:
    """Give words for numbers."""
    return {name: Array(tensor.numpy().astype("U9")) for name, tensor in tensors.items()}


def garbage(tensors: Tensors) -> Tensors:
    """Give bytes that are no tensor."""
    return {
        name: Array(tensor.dtype, tensor.shape, tensor.stype, bytes(range(256)))
        for name, tensor in tensors.items()
    }


app = ClientApp(client_fn=client_fn, mods=[malformed, serve_both_apis])
