"""The model that an app sends in training messages. A rule needs it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, Message

from flwr_byzantine.aggregation.gate import Array, Model, Reply
from flwr_byzantine.aggregation.npy import MalformedTensorError, decode
from flwr_byzantine.checks import ParameterError, is_whole, wrong
from flwr_byzantine.rules.base import Rule
from flwr_byzantine.strategies.records import read_record

ROUND = "server-round"  # where Flower's strategies write the round
LEGACY = "fitins."  # how names of records begin in messages of the `aggregate_fit` API


def given_to_all(messages: Sequence[Message]) -> ArrayRecord:
    """The record of arrays that all training messages of one call hold.

    Parameters
    ----------
    messages : Sequence[flwr.app.Message]
        The messages of one call, at least one.

    Raises
    ------
    ValueError
        If a message holds no such record, several records, or a record that differs from the first one.
    """
    first: ArrayRecord | None = None
    for message in messages:
        records = message.content.array_records
        if any(name.startswith(LEGACY) for name in records):
            raise _unlike(
                "of the Message API",
                "one of the `aggregate_fit` API, which sends one message to each client",
                "Put the rule around its strategy: `flwr_byzantine.ByzantineRobust(strategy, rule)`.",
            )
        if len(records) != 1:
            raise _unlike(
                "with one `ArrayRecord`, the global model",
                f"one with {len(records)} of them",
                "Send the global model in one record. A rule compares replies with the model that nodes "
                "start from.",
            )
        (record,) = records.values()
        if first is None:
            first = record
        elif record is not first and not _same(record, first):
            raise _unlike(
                "with the same arrays for every node of one call",
                "different ones",
                "A rule compares replies of nodes that trained the same model. Send each model in its own "
                "call through its own `RobustGrid`. No rule can protect a model that one node trains.",
            )
    assert first is not None
    return first


def check_number(messages: Sequence[Message], rule: Rule) -> None:
    """Raise if an app asks one node in each call, because every round would then be skipped.

    Raises
    ------
    ValueError
        If there is one message, and the rule needs more replies.
    """
    least = rule.at(len(messages)).min_updates
    if len(messages) == 1 < least:
        raise _unlike(
            "for all nodes of a round in one call",
            f"a single one, and {rule} needs {least}",
            "Collect the messages, and send them with one `grid.send_and_receive(messages)`.",
        )


def _unlike(expected: str, found: str, advice: str) -> ParameterError:
    return wrong("messages", f"training messages {expected}", None, advice, found=found)


def _same(a: ArrayRecord, b: ArrayRecord) -> bool:
    return list(a) == list(b) and all(
        mine is theirs or (mine.stype, mine.data) == (theirs.stype, theirs.data)
        for mine, theirs in zip(a.values(), b.values(), strict=True)
    )


def read_given(given: ArrayRecord) -> Model:
    """Read the model.

    Raises
    ------
    ValueError
        If numpy cannot read its arrays, or none of them holds floating-point numbers.
    """
    try:
        model = read_record(given)
    except MalformedTensorError as error:
        raise _unlike(
            "with a model in arrays that numpy wrote",
            str(error),
            "Pass an `ArrayRecord` of arrays.",
        ) from error
    if not any(array.dtype.kind == "f" for array in model.arrays):
        raise _unlike(
            "with a model of floating-point numbers",
            "none of these in its arrays",
            "A rule compares coordinates. Decision trees, such as those of FedXgb, have no coordinates. Run "
            "such an app without a rule. Start any other app from arrays of floating-point numbers.",
        )
    return model


def in_dtypes_of(replies: Sequence[Reply], model: Model) -> Model:
    """The model, in which tensors have the integer or boolean dtype that most nodes send.

    Flower's averages convert every tensor to floating-point numbers, also counters. Nodes that load such a
    model still reply with integer counters. Such replies are not malformed.
    """
    sent = [tensors for reply in replies if (tensors := _decoded(reply, model)) is not None]
    arrays = [
        _as_most_send(array, [tensors[name] for tensors in sent if name in tensors], len(replies))
        for name, array in zip(model.names, model.arrays, strict=True)
    ]
    return Model(model.names, tuple(arrays))


def _as_most_send(array: Array, sent: Sequence[Array], replies: int) -> Array:
    if array.dtype.kind != "f":
        return array
    dtypes = [other.dtype for other in sent if other.shape == array.shape]
    for dtype in dict.fromkeys(dtypes):
        if dtype.kind in "iub" and 2 * dtypes.count(dtype) > replies:
            with np.errstate(invalid="ignore"):
                return np.asarray(np.rint(array), dtype)
    return array


def _decoded(reply: Reply, model: Model) -> dict[str, Any] | None:
    """Tensors of a reply by name; None if it cannot be read."""
    if reply.malformed is not None or len(reply.tensors) != len(model.names):
        return None
    try:
        return {name: decode(data) for name, data in reply.tensors}
    except MalformedTensorError:
        return None


def round_after(last: int, message: Message) -> int:
    """The round that a message names if it is later than the last round; otherwise the next round."""
    for config in message.content.config_records.values():
        told = config.get(ROUND)
        if is_whole(told) and told > last:  # type: ignore[operator]
            return int(told)  # type: ignore[arg-type]
    return last + 1
