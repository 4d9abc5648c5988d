"""The model and the data."""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

Floats = NDArray[np.float32]
Split = tuple[Floats, NDArray[np.int64]]

TEST = 360  # samples that no node trains on


def initial_model() -> list[Floats]:
    """Weights and biases to start from."""
    return [np.zeros((64, 10), np.float32), np.zeros(10, np.float32)]


@cache
def load() -> tuple[Split, Split]:
    """Load the training and the test split: images of shape (samples, 64), and labels."""
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    x, y = (digits.data[order] / 16).astype(np.float32), digits.target[order]
    return (x[TEST:], y[TEST:]), (x[:TEST], y[:TEST])


def load_partition(partition_id: int, num_partitions: int) -> Split:
    """Load the training samples of one node."""
    (x, y), _ = load()
    return x[partition_id::num_partitions], y[partition_id::num_partitions]


def probabilities(model: list[Floats], x: Floats) -> Floats:
    """Probability of each class, shape (samples, classes)."""
    logits = x @ model[0] + model[1]
    exp = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exp / exp.sum(axis=1, keepdims=True)


def train(
    model: list[Floats], data: Split, epochs: int, learning_rate: float, seed: int
) -> list[Floats]:
    """Train with stochastic gradient descent on batches of 32."""
    x, y = data
    weights, biases = (np.array(tensor) for tensor in model)
    one_hot, rng = np.eye(10, dtype=np.float32)[y], np.random.default_rng(seed)
    for _ in range(epochs):
        for batch in np.array_split(rng.permutation(len(y)), max(1, len(y) // 32)):
            error = probabilities([weights, biases], x[batch]) - one_hot[batch]
            weights -= learning_rate * (x[batch].T @ error) / len(batch)
            biases -= learning_rate * error.mean(axis=0)
    return [weights, biases]


def test(model: list[Floats], data: Split) -> tuple[float, float]:
    """Mean cross-entropy and accuracy."""
    x, y = data
    p = probabilities(model, x)
    loss = -np.log(np.maximum(p[np.arange(len(y)), y], 1e-12)).mean()
    return float(loss), float((p.argmax(axis=1) == y).mean())
