"""Conversion between a torch model and what Flower exchanges: arrays in the order of its ``state_dict``."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from flwr.common import NDArrays
from torch import nn
from torch.nn import functional

ModelFactory = Callable[[], nn.Module]


@lru_cache(maxsize=8)
def shared_model(factory: ModelFactory) -> nn.Module:
    """Build the model of a factory once in a process. Every client loads its parameters into it."""
    torch.set_num_threads(1)  # simulated clients run one per core
    # The factory draws the first weights. This must not change the random numbers of anything else.
    with torch.random.fork_rng(devices=[]):
        return factory()


def load_arrays(model: nn.Module, arrays: NDArrays) -> None:
    """Copy arrays, in the order of the ``state_dict``, into a model.

    Parameters
    ----------
    model : nn.Module
        The model to overwrite.
    arrays : list of np.ndarray
        One array per entry of the ``state_dict``, of exactly its shape.

    Raises
    ------
    ValueError
        If the number of arrays or a shape differs from the model's.
    """
    state = model.state_dict()
    shapes = [tuple(tensor.shape) for tensor in state.values()]
    if shapes != [array.shape for array in arrays]:
        raise ValueError(
            f"Parameter `arrays` should have the shapes {shapes}. "
            f"Found {[array.shape for array in arrays]}: the server trains another model."
        )
    for tensor, array in zip(state.values(), arrays, strict=True):
        np.copyto(tensor.numpy(), array, casting="same_kind")


def dump_arrays(model: nn.Module) -> NDArrays:
    """Copy a model's ``state_dict`` out, keeping order, shapes and dtypes."""
    return [tensor.numpy().copy() for tensor in model.state_dict().values()]


class Evaluation(NamedTuple):
    """Mean cross-entropy, and the shares of samples whose label the model ranks first, or in the first three.

    ``by_class`` is the accuracy on the samples of each label, None for a label without samples.
    """

    loss: float
    accuracy: float
    top3: float
    by_class: list[float | None]


@torch.no_grad()
def evaluate(
    model: nn.Module, x: torch.Tensor, y: torch.Tensor, batch_size: int = 512
) -> Evaluation:
    """Evaluate a model on samples x with labels y."""
    model.eval()
    loss, near = 0.0, 0
    known = [0] * (1 + int(y.max()))  # correctly classified samples of each label
    for start in range(0, len(y), batch_size):
        logits = model(x[start : start + batch_size])
        labels = y[start : start + batch_size]
        loss += functional.cross_entropy(logits, labels, reduction="sum").item()
        right = labels[logits.argmax(1) == labels]
        known = [
            k + n
            for k, n in zip(
                known, torch.bincount(right, minlength=len(known)).tolist(), strict=True
            )
        ]
        best = logits.topk(min(3, logits.shape[1]), dim=1).indices
        near += int((best == labels[:, None]).any(dim=1).sum())
    there = torch.bincount(y, minlength=len(known)).tolist()
    by_class = [k / n if n else None for k, n in zip(known, there, strict=True)]
    return Evaluation(loss / len(y), sum(known) / len(y), near / len(y), by_class)


@torch.no_grad()
def classes(model: nn.Module, x: torch.Tensor, batch_size: int = 512) -> torch.Tensor:
    """Return the class that a model predicts for each of the samples x."""
    model.eval()
    starts = range(0, len(x), batch_size)
    return torch.cat([model(x[start : start + batch_size]).argmax(1) for start in starts])
