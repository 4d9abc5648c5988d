"""Datasets, held once per process, and their partitions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from simulations.models import Shape
from simulations.partitions import dirichlet_partition, held_out, iid_partition

if TYPE_CHECKING:
    from torchvision.datasets import MNIST


class Split(NamedTuple):
    """Images of shape (samples, channels, height, width), float32, and int64 labels."""

    x: torch.Tensor
    y: torch.Tensor


def load_digits(data_dir: str) -> tuple[Split, Split]:
    """Load the 1,797 real 8x8 digits that scikit-learn ships: 1,437 to train on, 360 to test.

    Each pixel is standardised by its mean and deviation over the training set.
    """
    from sklearn.datasets import load_digits as sklearn_digits

    bunch = sklearn_digits()
    order = np.random.default_rng(0).permutation(len(bunch.target))
    train, test = order[:1437], order[1437:]
    x = bunch.data.astype(np.float32)
    deviation = x[train].std(axis=0)
    x = (x - x[train].mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    images = torch.from_numpy(x.reshape(-1, 1, 8, 8))
    labels = torch.from_numpy(bunch.target.astype(np.int64))
    return Split(images[train], labels[train]), Split(images[test], labels[test])


def load_mnist(data_dir: str) -> tuple[Split, Split]:
    """Load MNIST, standardised by the mean and deviation of all its training pixels."""
    from torchvision.datasets import MNIST

    try:
        train, test = (MNIST(data_dir, train=train) for train in (True, False))
    except RuntimeError as error:
        raise FileNotFoundError(
            "Parameter `data_dir` should name a folder that holds MNIST/raw. "
            f"Found `data_dir = {data_dir}`, which does not. "
            "Name the right folder, or allow the download with `download = true`."
        ) from error
    return _standardised(train), _standardised(test)


def _standardised(part: MNIST) -> Split:
    return Split(((part.data / 255 - 0.1307) / 0.3081).unsqueeze(1), part.targets)


def download_mnist(data_dir: str) -> None:
    """Put MNIST into a folder that does not hold it yet."""
    from torchvision.datasets import MNIST

    MNIST(data_dir, download=True)


@dataclass(frozen=True)
class Dataset:
    """What a run has to know of a dataset before loading it."""

    load: Callable[[str], tuple[Split, Split]]
    shape: Shape
    classes: int
    default_model: str
    download: Callable[[str], None] | None = None  # None: nothing to download


DATASETS = {
    "digits": Dataset(load_digits, (1, 8, 8), 10, "mlp-small"),
    "mnist": Dataset(load_mnist, (1, 28, 28), 10, "mlp", download_mnist),
}


def prepare(name: str, data_dir: str, download: bool) -> None:
    """Download a dataset where that is allowed, and fail early where it is not there."""
    fetch = DATASETS[name].download
    if download and fetch is not None:
        fetch(data_dir)
    load(name, data_dir)


@lru_cache(maxsize=1)
def load(name: str, data_dir: str) -> tuple[Split, Split]:
    """Return the training and the test split, read once per process."""
    return DATASETS[name].load(data_dir)


@lru_cache(maxsize=8)
def partition(
    dataset: str,
    data_dir: str,
    kind: str,
    alpha: float,
    clients: int,
    seed: int,
    auxiliary: int = 0,
) -> list[np.ndarray]:
    """Return the positions of every client's training samples, without those of the server."""
    labels = load(dataset, data_dir)[0].y.numpy()
    rest = np.setdiff1d(np.arange(len(labels)), held_out(len(labels), auxiliary, seed))
    if kind == "shared":
        return [rest] * clients
    if kind == "dirichlet":
        shares = dirichlet_partition(labels[rest], clients, seed, alpha)
    else:
        shares = iid_partition(labels[rest], clients, seed)
    return [rest[share] for share in shares]
