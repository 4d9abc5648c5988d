"""The gate: it checks what clients sent against the model, before any rule sees it."""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from functools import cached_property
from logging import WARNING
from typing import Any

import numpy as np
import numpy.typing as npt
from flwr.common.logger import log

from flwr_byzantine.aggregation.npy import MalformedTensorError, clip, decode, in_one_line
from flwr_byzantine.checks import is_number
from flwr_byzantine.kernels.columns import Columns, readable

Array = npt.NDArray[Any]
Signature = tuple[tuple[str, tuple[int, ...], str], ...]

MAX_REPORTED = 1 << 18  # characters and numbers among the metrics of one reply


@dataclass(frozen=True)
class Reply:
    """One client's answer, unchanged.

    Parameters
    ----------
    client : str
        The server's own name of the client, and never a name that the client gave.
    tensors : Any
        Pairs (name, .npy bytes), or whatever the client sent instead.
    metrics : Mapping[str, Any]
        What the client reported.
    num_examples : Any
        The number of examples that the client claims.
    malformed : str or None
        Why the reply was refused before its tensors were checked.
    source : Any
        The host's own object for this reply.
    """

    client: str
    tensors: Any = ()
    metrics: Mapping[str, Any] = field(default_factory=dict)
    num_examples: Any = None
    malformed: str | None = None
    source: Any = None


def first_of_each(replies: Iterable[Reply]) -> list[Reply]:
    """The first reply of each client. Any other reply of the same client is ignored."""
    first: dict[str, Reply] = {}
    others = [r.client for r in replies if first.setdefault(r.client, r) is not r]
    if others:
        log(WARNING, "Ignored another reply of %s", in_one_line(others))
    return list(first.values())


def in_order(replies: Iterable[Reply], order_by: str | None) -> list[Reply]:
    """Put replies, which arrive in any order, in the order in which rules see them.

    Parameters
    ----------
    replies : Iterable[Reply]
        The replies in any order.
    order_by : str or None
        A metric that clients report, by which to sort. Clients that do not report it come last. None sorts by
        the server's own names of the clients.

    Returns
    -------
    list[Reply]
        The sorted replies. No metric that a client reports raises an error.
    """

    def key(reply: Reply) -> tuple[float, bool, int, str]:
        reported: Any = reply.metrics.get(order_by) if order_by is not None else 0
        place = float(reported) if is_number(reported) else math.inf
        digits = reply.client.isascii() and reply.client.isdigit()
        return place, not digits, int(reply.client) if digits else 0, reply.client

    return sorted(replies, key=key)


@dataclass(frozen=True)
class Model:
    """A model as named tensors.

    Parameters
    ----------
    names : tuple[str, ...]
        Names in order. If the API has no names, they are positions as text.
    arrays : tuple[np.ndarray, ...]
        The values.
    """

    names: tuple[str, ...]
    arrays: tuple[Array, ...]

    @classmethod
    def read(cls, tensors: Iterable[tuple[str, bytes]]) -> "Model":
        """Decode named tensors without copying them."""
        pairs = [(name, decode(data)) for name, data in tensors]
        if not all(isinstance(name, str) for name, _ in pairs):
            raise MalformedTensorError("names of tensors that are not text")
        return cls(tuple(name for name, _ in pairs), tuple(array for _, array in pairs))

    @property
    def signature(self) -> Signature:
        """Name, shape and kind of dtype of every tensor."""
        return tuple(
            (name, array.shape, array.dtype.kind)
            for name, array in zip(self.names, self.arrays, strict=True)
        )

    def in_form_of(self, other: "Model", fixed: Collection[int] = ()) -> "Model":
        """Return the model in the dtypes of another. Values that are not finite are the other's.

        Flower's server optimisers make every tensor float64, also counters. They may divide by zero, and
        move running variances below zero. So whole numbers, booleans and the tensors at the positions
        ``fixed`` are taken from the other model. A model with other tensors stays unchanged.
        """
        if self.names != other.names or any(
            mine.shape != theirs.shape
            for mine, theirs in zip(self.arrays, other.arrays, strict=True)
        ):
            return self
        with np.errstate(over="ignore", invalid="ignore"):
            arrays = [
                _finite(mine.astype(theirs.dtype), theirs)
                if theirs.dtype.kind == "f" and t not in fixed
                else theirs
                for t, (mine, theirs) in enumerate(zip(self.arrays, other.arrays, strict=True))
            ]
        return Model(self.names, tuple(arrays))

    def is_finite(self) -> bool:
        """Whether every value is finite."""
        return all(bool(np.isfinite(array).all()) for array in self.arrays)


def _finite(array: Array, otherwise: Array) -> Array:
    finite = np.isfinite(array)
    return array if finite.all() else np.where(finite, array, otherwise)


@dataclass(frozen=True)
class Gated:
    """Replies that passed, in order, and why the others did not.

    Parameters
    ----------
    structure : Model or None
        The structure against which replies were checked; None if there is none.
    accepted : dict[str, tuple[np.ndarray, ...]]
        Client -> tensors in the structure's order, shapes and dtypes.
    dropped : dict[str, str]
        Client -> reason.
    """

    structure: Model | None
    accepted: Mapping[str, tuple[Array, ...]]
    dropped: Mapping[str, str]

    @cached_property
    def columns(self) -> dict[np.dtype[Any], tuple[list[int], Columns]]:
        """Floating-point tensors by dtype: positions, and all clients' values."""
        assert self.structure is not None
        groups: dict[np.dtype[Any], list[int]] = {}
        for t, array in enumerate(self.structure.arrays):
            if array.dtype.kind == "f":
                groups.setdefault(readable(array.dtype), []).append(t)
        clients = list(self.accepted.values())
        return {
            dtype: (group, Columns.of(clients, group, dtype)) for dtype, group in groups.items()
        }


def gate(replies: Sequence[Reply], model: Model | None) -> Gated:
    """Check every reply against the model, or against the structure of most replies.

    Parameters
    ----------
    replies : Sequence[Reply]
        The replies, in the order in which rules will see them.
    model : Model or None
        The global model that clients got. If it is not known, the structure of most replies is taken
        instead. If two structures are equally frequent, the first one seen is taken.

    Returns
    -------
    Gated
        The replies that passed. Nothing that a client sends raises an error.
    """
    decoded: dict[str, Model] = {}
    dropped: dict[str, str] = {}
    limit = len(model.names) if model is not None else None
    for reply in first_of_each(replies):
        try:
            decoded[reply.client] = _decode(reply, limit)
        except MalformedTensorError as error:
            dropped[reply.client] = str(error)
    structure = model or _majority(decoded.values())
    accepted: dict[str, tuple[Array, ...]] = {}
    if structure is not None:
        for client, sent in decoded.items():
            try:
                accepted[client] = _conform(sent, structure)
            except MalformedTensorError as error:
                dropped[client] = str(error)
    return Gated(structure, accepted, dropped)


def gate_reports(replies: Iterable[Reply]) -> tuple[list[Reply], dict[str, str]]:
    """Check the replies of an evaluation, which hold no tensors.

    Returns
    -------
    tuple[list[Reply], dict[str, str]]
        The first usable reply of each client, and client -> reason for those that sent none.
    """
    accepted: dict[str, Reply] = {}
    dropped: dict[str, str] = {}
    for reply in first_of_each(replies):
        try:
            _check_report(reply)
            accepted[reply.client] = reply
        except MalformedTensorError as error:
            dropped[reply.client] = str(error)
    return list(accepted.values()), dropped


def _check_report(reply: Reply) -> None:
    """Refuse replies that are already malformed, and reports that are far longer than any honest ones."""
    if reply.malformed is not None:
        raise MalformedTensorError(reply.malformed)
    try:
        values = [*reply.metrics.values(), *reply.metrics]
        reported = sum(len(v) if isinstance(v, Sized) else 1 for v in values)
    except Exception as error:  # an object of another kind in a metric's place
        raise MalformedTensorError(f"unreadable metrics ({type(error).__name__})") from None
    if reported > MAX_REPORTED:
        raise MalformedTensorError(
            f"metrics of {reported} characters and numbers, at most {MAX_REPORTED} expected"
        )


def _decode(reply: Reply, limit: int | None) -> Model:
    _check_report(reply)
    try:
        tensors = list(reply.tensors)
        if limit is not None and len(tensors) != limit:
            raise MalformedTensorError(f"{len(tensors)} tensors, expected {limit}")
        return Model.read(tensors)
    except MalformedTensorError:
        raise
    except Exception as error:  # an object of another kind in a tensor's place
        raise MalformedTensorError(f"unreadable reply ({type(error).__name__})") from None


def _majority(models: Iterable[Model]) -> Model | None:
    """The first model with the most frequent structure, which includes the precision of every tensor."""
    first: dict[Any, Model] = {}
    counts: Counter[Any] = Counter()
    for model in models:
        look = model.signature, tuple(array.dtype.name for array in model.arrays)
        counts[look] += 1
        first.setdefault(look, model)
    return first[counts.most_common(1)[0][0]] if counts else None


def _conform(sent: Model, structure: Model) -> tuple[Array, ...]:
    """Tensors in the structure's order and dtypes. Raise an error for the first thing that is wrong."""
    by_name = dict(zip(sent.names, sent.arrays, strict=True))
    if set(by_name) != set(structure.names) or len(sent.names) != len(structure.names):
        missing = sorted(set(structure.names) - set(by_name))[:3]
        extra = [clip(name, 20) for name in sorted(set(by_name) - set(structure.names))[:3]]
        raise MalformedTensorError(
            f"other tensors than the model's: missing {missing}, extra {extra}"
        )
    tensors = []
    for name, expected in zip(structure.names, structure.arrays, strict=True):
        array = by_name[name]
        if array.shape != expected.shape:
            raise MalformedTensorError(
                f"tensor {name}: shape {array.shape}, expected {expected.shape}"
            )
        if array.dtype.kind != expected.dtype.kind:
            raise MalformedTensorError(
                f"tensor {name}: dtype {array.dtype}, expected {expected.dtype}"
            )
        if array.dtype != expected.dtype or not array.dtype.isnative:
            with np.errstate(over="ignore", invalid="ignore"):
                array = array.astype(expected.dtype.newbyteorder("="))
        tensors.append(array)
    return tuple(tensors)
