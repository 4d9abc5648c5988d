"""Datasets, held once per process, and their partitions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from flwr_byzantine.checks import wrong
from simulations.catalog import own
from simulations.catalog.dealing import SHARED, Partition, deal
from simulations.catalog.digits import digits
from simulations.catalog.partitions import held_out
from simulations.streams import Stream, generator

IMAGE_SIDE = 32  # pixels: the width and height to which images of folders are resized


class Split(NamedTuple):
    """Samples of shape (samples, ...), float32, and int64 labels.

    Images have the shape (samples, channels, height, width).
    """

    x: torch.Tensor
    y: torch.Tensor


Splits = tuple[Split, Split]


def load_digits(data_dir: str) -> Splits:
    """Load the 1,797 real 8x8 digits that scikit-learn ships: 1,437 to train on, 360 to test.

    Each pixel is standardised by its mean and deviation over the training set.
    """
    train, test = (
        Split(torch.from_numpy(part.x.reshape(-1, 1, 8, 8)), torch.from_numpy(part.y))
        for part in digits()
    )
    return train, test


def load_mnist(data_dir: str) -> Splits:
    """Load MNIST, standardised by the mean and deviation of all its training pixels."""
    return _torchvision("MNIST", data_dir, "MNIST/raw", 0.1307, 0.3081)


def load_fashion_mnist(data_dir: str) -> Splits:
    """Load Fashion-MNIST, standardised as MNIST is."""
    return _torchvision("FashionMNIST", data_dir, "FashionMNIST/raw", 0.2860, 0.3530)


def load_cifar10(data_dir: str) -> Splits:
    """Load CIFAR-10: the original, or folders ``cifar10/train`` and ``cifar10/test`` of its images."""
    folder = Path(data_dir) / "cifar10"
    if folder.is_dir():
        return load_image_folder(str(folder))
    return _torchvision("CIFAR10", data_dir, "cifar-10-batches-py, or cifar10/train", 0.473, 0.252)


def load_image_folder(data_dir: str) -> Splits:
    """Load the images ``train/<class>/*`` and ``test/<class>/*`` as 32 x 32 colour pixels.

    They are standardised by the mean and deviation of all training pixels.
    """
    from torchvision.datasets import ImageFolder

    def pixels(image: Any) -> np.ndarray:
        return np.array(image.convert("RGB").resize((IMAGE_SIDE, IMAGE_SIDE)))

    splits = []
    for part in ("train", "test"):
        try:
            found = ImageFolder(str(Path(data_dir) / part), transform=pixels)
        except (FileNotFoundError, RuntimeError) as error:
            raise FileNotFoundError(
                "Parameter `data_dir` should name a folder that holds train/<class>/<image> and "
                f"test/<class>/<image>. Found `data_dir = {data_dir}`, where {part} has no such images. "
                "Name the right folder."
            ) from error
        images = torch.empty(len(found), 3, IMAGE_SIDE, IMAGE_SIDE)
        for place, (image, _) in enumerate(found):
            images[place] = torch.from_numpy(image).permute(2, 0, 1)
        splits.append(Split(images, torch.tensor(found.targets)))
    train, test = splits
    deviation, mean = torch.std_mean(train.x)
    for split in splits:
        split.x.sub_(mean).div_(deviation)
    return train, test


def load_own(path: str, data_dir: str) -> Splits:
    """Load what the function of an import path returns."""
    train, test = (
        Split(torch.from_numpy(part.x), torch.from_numpy(part.y))
        for part in own.load(path, data_dir)
    )
    return train, test


def _torchvision(kind: str, data_dir: str, holds: str, mean: float, deviation: float) -> Splits:
    """Read a dataset of torchvision's, standardised."""
    from torchvision import datasets

    splits = []
    for train in (True, False):
        try:
            part = getattr(datasets, kind)(data_dir, train=train)
        except RuntimeError as error:
            raise FileNotFoundError(
                f"Parameter `data_dir` should name a folder that holds {holds}. "
                f"Found `data_dir = {data_dir}`, which does not. "
                "Name the right folder, or add `--download` (`download=true` in the app) to download it."
            ) from error
        images = torch.as_tensor(part.data)
        images = images.unsqueeze(1) if images.dim() == 3 else images.permute(0, 3, 1, 2)
        splits.append(
            Split((images / 255 - mean) / deviation, torch.as_tensor(part.targets).long())
        )
    return splits[0], splits[1]


@dataclass(frozen=True)
class Dataset:
    """A dataset: how it is read, the network for it, and torchvision's class that downloads it."""

    load: Callable[[str], Splits]
    default_model: str
    download: str | None = None  # None: nothing to download
    classes: int | None = 10  # None: only the data say
    is_shipped: bool = False  # whether it comes with the requirements, so that nobody downloads it


OWN_MODEL = "mlp"  # takes samples of any shape
DATASETS = {
    "digits": Dataset(load_digits, "mlp-small", is_shipped=True),
    "mnist": Dataset(load_mnist, "mlp", "MNIST"),
    "fashion-mnist": Dataset(load_fashion_mnist, "lenet", "FashionMNIST"),
    "cifar10": Dataset(load_cifar10, "cnn-two", "CIFAR10"),
    "image-folder": Dataset(load_image_folder, "cnn-two", classes=None),
}


def described(name: str) -> Dataset | None:
    """Return what is known of a dataset by its name or import path. None if the name is neither."""
    if own.is_path(name):
        return Dataset(partial(load_own, name), OWN_MODEL, classes=None)
    return DATASETS.get(name)


def prepare(name: str, data_dir: str, download: bool) -> None:
    """Download a missing dataset if that is allowed. Otherwise fail before anything trains."""
    kind = (described(name) or DATASETS[name]).download
    try:
        load(name, data_dir)
    except FileNotFoundError:
        if not download or kind is None:
            raise
        from torchvision import datasets

        getattr(datasets, kind)(data_dir, download=True)
        load(name, data_dir)


def check_there(name: str, data_dir: str, download: bool) -> None:
    """Do the same as `prepare`, but keep no data in memory.

    Folders of images take long to read, so this only looks for their files. The user's own data are read
    twice, and have to be the same both times, because each process of a run reads them again.
    """
    folder = {"cifar10": Path(data_dir) / "cifar10", "image-folder": Path(data_dir)}.get(name)
    if folder and all(any((folder / part).glob("*/*")) for part in ("train", "test")):
        return
    prepare(name, data_dir, download)
    if own.is_path(name):
        first = _fingerprint(load(name, data_dir))
        load.cache_clear()
        if _fingerprint(load(name, data_dir)) != first:
            found = f"`dataset = {name}`, which returned other arrays when it was called again"
            raise wrong("dataset", own.RETURNS, name, "Give its draws a fixed seed.", found=found)
    load.cache_clear()


def _fingerprint(splits: Splits) -> str:
    """A hash of all samples and labels."""
    found = sha256()
    for split in splits:
        for tensor in split:
            found.update(tensor.numpy().data)
    return found.hexdigest()


def class_count(name: str, data_dir: str) -> int:
    """Return the number of classes of the training and the test samples together."""
    train, test = load(name, data_dir)
    return 1 + int(max(train.y.max(), test.y.max()))


@lru_cache(maxsize=1)
def load(name: str, data_dir: str) -> Splits:
    """Return the training and the test split, read once per process."""
    return (described(name) or DATASETS[name]).load(data_dir)


@lru_cache(maxsize=8)
def partition(
    dataset: str,
    data_dir: str,
    how: Partition,
    clients: int,
    seed: int,
    auxiliary: int = 0,
    apart: frozenset[int] = frozenset(),
) -> list[np.ndarray]:
    """Return the positions of every client's training samples, without those of the server.

    Parameters
    ----------
    dataset, data_dir : str
        The data, and where they lie.
    how : Partition
        How they are dealt out.
    clients : int
        The number of clients.
    seed : int
        The seed of the run.
    auxiliary : int
        How many samples the server has.
    apart : frozenset of int
        Clients that get no share. Each of them draws samples of its own from all that the others share, as
        many as one of the others has on average.
    """
    labels = load(dataset, data_dir)[0].y.numpy()
    rest = np.setdiff1d(np.arange(len(labels)), held_out(len(labels), auxiliary, seed))
    if how.kind == SHARED:
        return [rest] * clients
    others = [client for client in range(clients) if client not in apart]
    shares = dict(zip(others, deal(how, labels[rest], len(others), seed), strict=True))
    for client in apart:
        own = generator(Stream.APART, seed, client)
        shares[client] = np.sort(own.choice(len(rest), len(rest) // len(others), replace=False))
    return [rest[shares[client]] for client in range(clients)]
