"""Softmax regression on digits, in numpy, so that a client's process starts in a second."""

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Labels = NDArray[np.int64]
Samples = tuple[Array, Labels]

CLASSES, PIXELS = 10, 64
BATCH = 32
TEST = 360  # samples that no node trains on


def initial_model() -> list[Array]:
    """Weights and biases to start from."""
    return [np.zeros((PIXELS, CLASSES), np.float32), np.zeros(CLASSES, np.float32)]


def load(path: str | Path) -> Samples:
    """Read images, shape (samples, 64), and labels from a node's own file."""
    with np.load(path) as data:
        return data["x"], data["y"]


@cache
def splits(seed: int = 0) -> tuple[Samples, Samples]:
    """Shuffle scikit-learn's digits, and return the training samples and the test samples."""
    from sklearn.datasets import load_digits  # a node with its own file needs no scikit-learn

    bunch = load_digits()
    order = np.random.default_rng(seed).permutation(len(bunch.target))
    x, y = (bunch.data[order] / 16).astype(np.float32), bunch.target[order].astype(np.int64)
    return (x[TEST:], y[TEST:]), (x[:TEST], y[:TEST])


def share(node: int, nodes: int, seed: int = 0) -> Samples:
    """Return the training samples of a node. The nodes are counted from 0."""
    if not 0 <= node < nodes:
        raise ValueError(
            f"Parameter `node` should be from 0 to {nodes - 1}. Found `node = {node}`. "
            "Count the nodes from 0."
        )
    (x, y), _ = splits(seed)
    return np.array_split(x, nodes)[node], np.array_split(y, nodes)[node]


def probabilities(model: list[Array], x: Array) -> Array:
    """The probability of each class, shape (samples, classes)."""
    logits = x @ model[0] + model[1]
    exp = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Array = exp / exp.sum(axis=1, keepdims=True)
    return shares


def train(
    model: list[Array],
    x: Array,
    y: Labels,
    rng: np.random.Generator,
    epochs: int = 4,
    learning_rate: float = 0.3,
) -> list[Array]:
    """Return the model after stochastic gradient descent over the samples."""
    weights, biases = (np.array(tensor) for tensor in model)
    for _ in range(epochs):
        for batch in np.array_split(rng.permutation(len(y)), max(1, len(y) // BATCH)):
            error = probabilities([weights, biases], x[batch]) - np.eye(CLASSES)[y[batch]]
            weights -= learning_rate / len(batch) * (x[batch].T @ error)
            biases -= learning_rate * error.mean(axis=0)
    return [weights.astype(np.float32), biases.astype(np.float32)]


def evaluate(model: list[Array], x: Array, y: Labels) -> tuple[float, float]:
    """The mean cross-entropy, and the accuracy."""
    p = probabilities(model, x)
    loss = -np.log(np.maximum(p[np.arange(len(y)), y], 1e-12)).mean()
    return float(loss), float((p.argmax(axis=1) == y).mean())
