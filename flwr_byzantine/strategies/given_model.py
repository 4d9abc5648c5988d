"""The model that an app hands out in training messages, as a rule needs it."""

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
        At least one.

    Raises
    ------
    ValueError
        If one holds no such record, or several, or another one than the first.
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
                "Send the model in one record. Without a model that nodes start from, replies cannot be "
                "compared.",
            )
        (record,) = records.values()
        if first is None:
            first = record
        elif record is not first and not _same(record, first):
            raise _unlike(
                "with the same arrays for every node of one call",
                "different ones",
                "A rule compares what nodes made of one model. Send each model in a call of its own, "
                "through a `RobustGrid` of its own. Models of single nodes cannot be protected.",
            )
    assert first is not None
    return first


def check_number(messages: Sequence[Message], rule: Rule) -> None:
    """Raise where an app asks one node a call, so that every round would be skipped.

    Raises
    ------
    ValueError
        For a single message, and a rule that needs more replies.
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
        If it is no model of floating-point numbers that numpy can read.
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
            "A rule compares coordinates. Decision trees, as FedXgb sends them, have none: run such an "
            "app without a rule. Otherwise start from arrays of floating-point numbers.",
        )
    return model


def in_dtypes_of(replies: Sequence[Reply], model: Model) -> Model:
    """The model, with whole numbers or booleans where most nodes send these for floating-point numbers.

    Flower's averages make every tensor one of floating-point numbers, counters too. Nodes that load such a
    model still reply with their own counters, which are then no fault.
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
    """Tensors of a reply by name; None where it cannot be read."""
    if reply.malformed is not None or len(reply.tensors) != len(model.names):
        return None
    try:
        return {name: decode(data) for name, data in reply.tensors}
    except MalformedTensorError:
        return None


def round_after(last: int, message: Message) -> int:
    """The round that a message says it is of, where that goes on; or else the next one."""
    for config in message.content.config_records.values():
        told = config.get(ROUND)
        if is_whole(told) and told > last:  # type: ignore[operator]
            return int(told)  # type: ignore[arg-type]
    return last + 1
