"""The model and the data."""

from functools import cache

import numpy as np
import torch
from flwr.common import NDArrays
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

TEST = 360  # samples that no node trains on


def make_model() -> nn.Module:
    """Build the network, with the same weights each time."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def get_weights(model: nn.Module) -> NDArrays:
    """Give the network's weights as arrays."""
    return [tensor.detach().cpu().numpy().copy() for tensor in model.state_dict().values()]


def set_weights(model: nn.Module, weights: NDArrays) -> None:
    """Give the network these weights."""
    names = model.state_dict().keys()
    model.load_state_dict({n: torch.tensor(w) for n, w in zip(names, weights, strict=True)})


@cache
def load() -> tuple[Dataset, Dataset]:
    """Load the training and the test split."""
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    x = torch.tensor(digits.data[order] / 16, dtype=torch.float32)
    y = torch.tensor(digits.target[order])
    return TensorDataset(x[TEST:], y[TEST:]), TensorDataset(x[:TEST], y[:TEST])


def load_partition(partition_id: int, num_partitions: int) -> Dataset:
    """Load the training samples of one node."""
    train_set, _ = load()
    return Subset(train_set, range(partition_id, len(train_set), num_partitions))


def train(model: nn.Module, data: Dataset, epochs: int, learning_rate: float, seed: int) -> None:
    """Train with stochastic gradient descent on batches of 32."""
    optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate)
    loss = nn.CrossEntropyLoss()
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for x, y in DataLoader(data, batch_size=32, shuffle=True, generator=generator):
            optimizer.zero_grad()
            loss(model(x), y).backward()
            optimizer.step()


@torch.no_grad()
def test(model: nn.Module, data: Dataset) -> tuple[float, float]:
    """Mean cross-entropy and accuracy."""
    x, y = next(iter(DataLoader(data, batch_size=len(data))))
    logits = model(x)
    accuracy = (logits.argmax(dim=1) == y).float().mean()
    return float(nn.functional.cross_entropy(logits, y)), float(accuracy)
