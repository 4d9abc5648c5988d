"""The nodes of the drill: honest and malicious ones from `clients`, and nodes that send malformed replies."""

from flwr.app import Array, ArrayRecord, Context, Message
from flwr.client import Client
from flwr.clientapp import ClientApp
from flwr.clientapp.typing import ClientAppCallable

from clients import serve_both_apis
from clients.nodes import configured_client

Tensors = dict[str, Array]


def client_fn(context: Context) -> Client:
    """Build the client that this node's configuration asks for. A mod spoils a malformed node's replies."""
    config = dict(context.node_config)
    if config["role"] == "malformed":
        config["role"] = "honest"
    return configured_client(config).to_client()


def malformed(msg: Message, ctxt: Context, call_next: ClientAppCallable) -> Message:
    """Spoil the reply of a malformed node, in another way each round. This is a client mod."""
    server_round = int(next(iter(msg.content.config_records.values()))["server-round"])
    reply = call_next(msg, ctxt)
    if ctxt.node_config["role"] != "malformed" or reply.has_error():
        return reply
    key, record = next(iter(reply.content.array_records.items()))
    spoil = (wrong_shape, tensor_missing, text, garbage)[server_round % 4]
    reply.content[key] = ArrayRecord(spoil(dict(record)))
    return reply


def wrong_shape(tensors: Tensors) -> Tensors:
    """Keep only the first row of each tensor, which would broadcast."""
    return {name: Array(tensor.numpy()[:1]) for name, tensor in tensors.items()}


def tensor_missing(tensors: Tensors) -> Tensors:
    """Leave out the last tensor."""
    return dict(list(tensors.items())[:-1])


def text(tensors: Tensors) -> Tensors:
    """Replace the numbers by text."""
    return {name: Array(tensor.numpy().astype("U9")) for name, tensor in tensors.items()}


def garbage(tensors: Tensors) -> Tensors:
    """Replace the tensors by bytes that are no tensors."""
    return {
        name: Array(tensor.dtype, tensor.shape, tensor.stype, bytes(range(256)))
        for name, tensor in tensors.items()
    }


app = ClientApp(client_fn=client_fn, mods=[malformed, serve_both_apis])
