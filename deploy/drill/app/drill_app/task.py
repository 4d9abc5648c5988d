"""Softmax regression on digits, in numpy: a client's process starts in a second."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

CLASSES, PIXELS = 10, 64
BATCH = 32


def initial_model() -> list[Array]:
    """Weights and biases to start from."""
    return [np.zeros((PIXELS, CLASSES), np.float32), np.zeros(CLASSES, np.float32)]


def load(path: str | Path) -> tuple[Array, NDArray[np.int64]]:
    """Read images of shape (samples, 64) and labels from a file of a node's own."""
    with np.load(path) as data:
        return data["x"], data["y"]


def probabilities(model: list[Array], x: Array) -> Array:
    """Probability of each class, shape (samples, classes)."""
    logits = x @ model[0] + model[1]
    exp = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exp / exp.sum(axis=1, keepdims=True)


def train(
    model: list[Array],
    x: Array,
    y: NDArray[np.int64],
    rng: np.random.Generator,
    epochs: int = 4,
    learning_rate: float = 0.3,
) -> list[Array]:
    """Give the model after stochastic gradient descent over the samples."""
    weights, biases = (np.array(tensor) for tensor in model)
    for _ in range(epochs):
        for batch in np.array_split(rng.permutation(len(y)), max(1, len(y) // BATCH)):
            error = probabilities([weights, biases], x[batch]) - np.eye(CLASSES)[y[batch]]
            weights -= learning_rate / len(batch) * (x[batch].T @ error)
            biases -= learning_rate * error.mean(axis=0)
    return [weights.astype(np.float32), biases.astype(np.float32)]


def evaluate(model: list[Array], x: Array, y: NDArray[np.int64]) -> tuple[float, float]:
    """Mean cross-entropy and accuracy."""
    p = probabilities(model, x)
    loss = -np.log(np.maximum(p[np.arange(len(y)), y], 1e-12)).mean()
    return float(loss), float((p.argmax(axis=1) == y).mean())
