"""Gives attacks numpy arrays in place of tensors, and returns their answer in the caller's kind of array.

Attacks are written in numpy alone. This module never loads torch: if no other code has loaded it, there are
no tensors.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeVar, cast

import numpy as np

from ..kernels.columns import BFLOAT16, HALF, SINGLE
from ..kernels.reference import widened
from ..rules.inputs import tensor_values

Call = TypeVar("Call", bound=Callable[..., Any])


def of_any_kind(call: Call) -> Call:
    """Let the call of an attack accept torch tensors, lists of rows, and half precision.

    The first argument, an update, a model or the honest updates, reaches the call as a numpy array, which is
    never changed. Halves, float16 and bfloat16, are computed in float32 and rounded. For a tensor, or a list
    that begins with one, the answer is a tensor of its type on its device, outside the autograd graph.
    """

    @wraps(call)
    def given(attack: Any, values: Any, *arguments: Any, **named: Any) -> Any:
        array, restore = as_array(values)
        return restore(call(attack, array, *arguments, **named))

    return cast(Call, given)


def as_array(values: Any) -> tuple[Any, Callable[[Any], Any]]:
    """Return values as a numpy array, and a function that gives an answer in their kind."""
    torch = sys.modules.get("torch")
    several = isinstance(values, Sequence) and len(values) > 0
    first = values[0] if several else values
    if several and any(_is(torch, row) for row in values):
        rows = [tensor_values(torch, row) if _is(torch, row) else np.asarray(row) for row in values]
        array, kind = _stacked([_wide(row) for row in rows]), rows[0].dtype
    else:
        array = _stacked([np.asarray(row) for row in values]) if several else values
        array = tensor_values(torch, array) if _is(torch, array) else np.asarray(array)
        array, kind = _wide(array), array.dtype
    if _is(torch, first):
        return array, lambda sent: _as_tensor(torch, sent, first)
    return array, lambda sent: _in_precision(sent, kind)


def _is(torch: Any, values: Any) -> bool:
    return torch is not None and isinstance(values, torch.Tensor)


def _wide(array: Any) -> Any:
    """Convert half precision to float32, and leave all other values unchanged."""
    if array.dtype == BFLOAT16:
        return widened(array)
    return array.astype(SINGLE) if array.dtype == HALF else array


def _stacked(rows: list[Any]) -> Any:
    """Rows as one matrix. Rows of different lengths become an array of objects, which attacks refuse."""
    if len({row.shape for row in rows}) == 1:
        return np.stack(rows)
    return np.array([None] * len(rows), dtype=object)


def _in_precision(sent: Any, kind: np.dtype[Any]) -> Any:
    """An answer in half precision if the input was. Equal rows still share their memory."""
    if kind != HALF:
        return sent
    with np.errstate(over="ignore", invalid="ignore"):
        if sent.ndim == 2 and sent.strides[0] == 0:
            return np.broadcast_to(sent[0].astype(kind), sent.shape)
        return sent.astype(kind)


def _as_tensor(torch: Any, sent: Any, like: Any) -> Any:
    """An answer as a tensor with its own memory."""
    return torch.from_numpy(np.array(sent)).to(like.device, like.dtype)
