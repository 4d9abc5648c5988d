"""The nodes: those of `clients`, honest and malicious, or sending what is no model at all."""

from flwr.app import Array, ArrayRecord, Context, Message
from flwr.client import Client
from flwr.clientapp import ClientApp
from flwr.clientapp.typing import ClientAppCallable

from clients import serve_both_apis
from clients.nodes import configured_client

Tensors = dict[str, Array]


def client_fn(context: Context) -> Client:
    """Build the client that this node's configuration asks for; a mod spoils what is malformed."""
    config = dict(context.node_config)
    if config["role"] == "malformed":
        config["role"] = "honest"
    return configured_client(config).to_client()


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
