"""Conversion between what a client sends and the flat update that an attack works on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from flwr_byzantine.attacks.base import Floats, require

Arrays = list[NDArray[Any]]
Payload = Literal["parameters", "gradients"]


def check_payload(payload: str) -> None:
    """Raise unless the payload is one that a client can send."""
    require(
        payload in ("parameters", "gradients"),
        "payload",
        "'parameters' or 'gradients'",
        payload,
        "Say what the wrapped client returns from `fit`.",
    )


def is_floating(array: NDArray[Any]) -> bool:
    """Return whether attacks change a tensor. Integer and boolean tensors do not change."""
    return bool(np.issubdtype(array.dtype, np.floating))


def copies(arrays: Sequence[NDArray[Any]]) -> Arrays:
    """Return copies, because a client may change the arrays that it gets."""
    return [np.array(array) for array in arrays]


def flatten(arrays: Sequence[NDArray[Any]]) -> Floats:
    """Return the floating-point tensors end to end, (d,), in their widest precision."""
    floating = [np.ravel(array) for array in arrays if is_floating(array)]
    if not floating:
        return np.empty(0, dtype=np.float32)
    return np.concatenate(floating)


def unflatten(flat: Floats, like: Sequence[NDArray[Any]]) -> Arrays:
    """Return tensors with the values of `flat` and the shapes and dtypes of `like`.

    Integer and boolean tensors are the same objects as in `like`. The others are new.
    """
    _check_size(flat, like)
    arrays: Arrays = []
    start = 0
    for array in like:
        if not is_floating(array):
            arrays.append(array)
            continue
        piece = flat[start : start + array.size].reshape(array.shape)
        with np.errstate(over="ignore", invalid="ignore"):
            arrays.append(piece.astype(array.dtype))
        start += array.size
    return arrays


def update_of(
    returned: Sequence[NDArray[Any]], received: Sequence[NDArray[Any]], payload: Payload
) -> Floats:
    """Return a client's update: what it returned, minus what it received if it returns parameters."""
    if payload == "gradients":
        return flatten(returned)
    check_same_shapes(returned, received)
    with np.errstate(over="ignore", invalid="ignore"):
        return flatten(returned) - _matching(received, returned)


def with_update(
    update: Floats,
    returned: Sequence[NDArray[Any]],
    received: Sequence[NDArray[Any]],
    payload: Payload,
) -> Arrays:
    """Return what a client has to send for this update: the inverse of `update_of`, except for rounding."""
    if payload == "gradients":
        return unflatten(update, returned)
    check_same_shapes(returned, received)
    _check_size(update, returned)
    with np.errstate(over="ignore", invalid="ignore"):
        return unflatten(_matching(received, returned) + update, returned)


def model_of(returned: Sequence[NDArray[Any]], received: Sequence[NDArray[Any]]) -> Floats:
    """Return the received model, flattened, without the tensors that were not returned in floating point."""
    if [array.shape for array in received] == [array.shape for array in returned]:
        return _matching(received, returned)
    return flatten(received)


def to_send(change: Floats, payload: Payload) -> Floats:
    """Return what clients send for a change of the model. Servers step against gradients."""
    return -change if payload == "gradients" else change


def _matching(received: Sequence[NDArray[Any]], returned: Sequence[NDArray[Any]]) -> Floats:
    """Return those received tensors, end to end, that were returned in floating point."""
    pairs = zip(received, returned, strict=True)
    return flatten([start.astype(end.dtype, copy=False) for start, end in pairs])


def _check_size(update: Floats, like: Sequence[NDArray[Any]]) -> None:
    """Raise unless an update has one value for each value that an attack may change."""
    shape = (sum(array.size for array in like if is_floating(array)),)
    advice = "An attack returns one value for each floating-point value of the client's update."
    require(update.shape == shape, "update", f"of shape {shape}", update.shape, advice)


def check_same_shapes(returned: Sequence[NDArray[Any]], received: Sequence[NDArray[Any]]) -> None:
    """Raise unless what a client returned can be compared with what it received."""
    shapes = [array.shape for array in received]
    require(
        [array.shape for array in returned] == shapes,
        "returned",
        f"tensors of the shapes received, {shapes}",
        [array.shape for array in returned],
        "With `payload='parameters'` an update is the returned model minus the received one. For a "
        "client that returns gradients, pass `payload='gradients'`.",
    )
