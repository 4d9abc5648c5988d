"""A small network in numpy: one hidden layer of rectified units, then softmax.

A model is the list of its arrays: weights and biases of the hidden layer, then those of the output. Code
that uses it needs no torch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]
Arrays = list[Floats]


def initial_model(inputs: int, hidden: int, classes: int, rng: np.random.Generator) -> Arrays:
    """Draw weights whose variance is 1 / the number of inputs of their layer. All biases are 0.

    Examples
    --------
    >>> from simulations.streams import Stream, generator
    >>> [array.shape for array in initial_model(64, 30, 10, generator(Stream.WEIGHTS, 0))]
    [(64, 30), (30,), (30, 10), (10,)]
    """
    model: Arrays = []
    for size in ((inputs, hidden), (hidden, classes)):
        model.append((rng.normal(size=size) / np.sqrt(size[0])).astype(np.float32))
        model.append(np.zeros(size[1], np.float32))
    return model


def logits(model: Arrays, x: Floats) -> tuple[Floats, Floats]:
    """Return the hidden values, shape (samples, hidden), and the outputs, shape (samples, classes)."""
    hidden = np.maximum(x @ model[0] + model[1], 0)
    return hidden, hidden @ model[2] + model[3]


def gradient(model: Arrays, x: Floats, y: Labels) -> Arrays:
    """Return the gradient of the mean cross entropy of some samples."""
    hidden, out = logits(model, x)
    out = np.exp(out - out.max(axis=1, keepdims=True))
    out /= out.sum(axis=1, keepdims=True)
    out[np.arange(len(y)), y] -= 1
    out /= len(y)
    back = (out @ model[2].T) * (hidden > 0)
    return [x.T @ back, back.sum(axis=0), hidden.T @ out, out.sum(axis=0)]


def descend(model: Arrays, x: Floats, y: Labels, learning_rate: float) -> None:
    """Take one step of gradient descent, in place."""
    for array, step in zip(model, gradient(model, x, y), strict=True):
        array -= learning_rate * step


def accuracy(model: Arrays, x: Floats, y: Labels) -> float:
    """Return the share of the samples that the model classifies correctly."""
    return float((logits(model, x)[1].argmax(axis=1) == y).mean())
