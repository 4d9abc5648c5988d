"""One ``ClientApp`` of NumPyClients for both Flower APIs.

Servers of the legacy API send ``fitins.parameters`` and ``fitins.config`` and read ``fitres.*``;
servers of the Message API send an ``ArrayRecord`` and a ``ConfigRecord`` and read one
``ArrayRecord`` and one ``MetricRecord`` that holds ``num-examples``. If the two do not match, every
client fails, and the run ends without an error. `serve_both_apis` translates between them.
"""

from __future__ import annotations

from typing import Any, TypeVar, cast

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
from flwr.clientapp.typing import ClientAppCallable
from flwr.common import Code
from numpy.typing import NDArray

from flwr_byzantine.aggregation.npy import MalformedTensorError, decode

Record = TypeVar("Record", ArrayRecord, ConfigRecord)

EMPTY = "_empty"  # the key under which Flower sends a list of no tensors
NUMPY = "numpy.ndarray"  # what Flower calls a tensor in the .npy format
LEGACY = {"train": ("fitins", "fitres"), "evaluate": ("evaluateins", "evaluateres")}


def serve_both_apis(msg: Message, ctxt: Context, call_next: ClientAppCallable) -> Message:
    """Let an app of NumPyClients answer servers of the Message API too.

    Train and evaluate messages of the Message API are translated to the legacy records that
    ``ClientApp(client_fn=...)`` understands, and the answers are translated back. The tensors of an answer
    have the names of the received tensors. Legacy messages pass through unchanged.

    Parameters
    ----------
    msg : Message
        The message from the server.
    ctxt : Context
        The context of the node.
    call_next : ClientAppCallable
        The next mod, or the app.

    Returns
    -------
    Message
        The answer, in the records of the API that asked.

    Notes
    -----
    A ``MetricRecord`` holds only numbers. So a bool is sent as 0 or 1, and metrics that are text or bytes are
    left out. If a client does not implement ``fit`` (or ``evaluate``), the reply is an error. (In the legacy
    API it is a status.)

    Examples
    --------
    >>> from flwr.client import NumPyClient
    >>> from flwr.clientapp import ClientApp
    >>> app = ClientApp(lambda context: NumPyClient().to_client(), mods=[serve_both_apis])
    """
    legacy = LEGACY.get(msg.metadata.message_type)
    if legacy is None or f"{legacy[0]}.parameters" in msg.content:
        return call_next(msg, ctxt)
    ins, res = legacy
    key, arrays = _first(msg.content, ArrayRecord) or ("arrays", ArrayRecord())
    _, config = _first(msg.content, ConfigRecord) or ("config", ConfigRecord())
    names = list(arrays)
    msg.content = RecordDict(
        {f"{ins}.parameters": _or_empty(arrays), f"{ins}.config": config.copy()}
    )
    reply = call_next(msg, ctxt)
    if reply.has_error():
        return reply
    status = cast(ConfigRecord, reply.content[f"{res}.status"])
    if status["code"] != Code.OK.value:
        error = Error(code=cast(int, status["code"]), reason=str(status["message"]))
        return Message(error, reply_to=msg)
    answer = RecordDict()
    if res == "fitres":
        answer[key] = _named(cast(ArrayRecord, reply.content[f"{res}.parameters"]), names)
    answer["metrics"] = _metrics(reply.content, res)
    reply.content = answer
    return reply


def _first(content: RecordDict, kind: type[Record]) -> tuple[str, Record] | None:
    """Return the first record of a kind, and its name."""
    return next(((name, r) for name, r in content.items() if isinstance(r, kind)), None)


def _or_empty(arrays: ArrayRecord) -> ArrayRecord:
    """Return the record, or Flower's stand-in for a list of no tensors."""
    if arrays:
        return arrays
    return ArrayRecord({EMPTY: Array(dtype="", shape=(), stype=NUMPY, data=b"")})


def _named(record: ArrayRecord, names: list[str]) -> ArrayRecord:
    """Return the tensors under the received names, with dtype and shape filled in.

    If there are more tensors than names, the others are named by their position. A client may send anything.
    """
    answer = ArrayRecord()
    tensors = [array for name, array in record.items() if name != EMPTY]
    for i, array in enumerate(tensors):
        value = _value(array)
        array.dtype, array.shape = str(value.dtype), value.shape
        answer[names[i] if i < len(names) else str(i)] = array
    return answer


def _value(array: Array) -> NDArray[Any]:
    """Return a tensor. It is not copied if the server's rules can read it."""
    if array.stype == NUMPY:
        try:
            return decode(array.data)
        except MalformedTensorError:
            pass
    return array.numpy()


def _metrics(content: RecordDict, res: str) -> MetricRecord:
    """Return the numbers of a legacy answer as one record. Clients cannot replace `num-examples`."""
    numbers = MetricRecord()
    for name, value in cast(ConfigRecord, content[f"{res}.metrics"]).items():
        if isinstance(value, int | float):
            numbers[name] = int(value) if isinstance(value, bool) else value
    if res == "evaluateres":
        numbers["loss"] = cast(MetricRecord, content[f"{res}.loss"])["loss"]
    examples = cast(MetricRecord, content[f"{res}.num_examples"])
    numbers["num-examples"] = examples["num_examples"]
    return numbers
