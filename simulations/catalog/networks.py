"""The network of a model's name or import path, in the size that a dataset needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import torch
from torch import nn
from torch.nn import functional

from flwr_byzantine.checks import ParameterError, wrong
from simulations.catalog import datasets
from simulations.catalog.models import Shape, initial_model, model_factory
from simulations.catalog.own import said
from simulations.torch_model import ModelFactory, dump_arrays


def network_factory(model: str, dataset: str, data_dir: str) -> ModelFactory:
    """Return the builder of a network, the same one for the same model and dataset."""
    return model_factory(model, *_size(dataset, data_dir))


def initial_network(model: str, dataset: str, data_dir: str, seed: int) -> nn.Module:
    """Build a network with the weights that every run of this seed starts from."""
    return initial_model(model, *_size(dataset, data_dir), seed)


@lru_cache(maxsize=8)
def check_network(model: str, dataset: str, data_dir: str) -> None:
    """Check a network by training it on two samples. Nothing of it is kept.

    Raises
    ------
    ValueError
        If it cannot be built, does not take the samples, does not return a number for each class, or is not
        the same one when it is built again with the same seed.
    """
    train, _ = datasets.load(dataset, data_dir)
    shape, classes = _size(dataset, data_dir)
    two = [0, -1]
    with _told(model, shape, classes), torch.random.fork_rng(devices=[]):
        network, again = (initial_network(model, dataset, data_dir, seed=0) for _ in range(2))
        first, second = dump_arrays(network), dump_arrays(again)
        trained = [p for p in network.parameters() if p.requires_grad]
        if network is again:
            raise _wrong(
                model, shape, classes, "returned the same network twice", "Build a new one."
            )
        if not trained:
            raise _wrong(model, shape, classes, "has nothing to train", "Give it parameters.")
        if any((one != other).any() for one, other in zip(first, second, strict=True)):
            advice = "Let torch draw them: its seed is set."
            raise _wrong(model, shape, classes, "had other weights when it was built again", advice)
        network.train()
        out = network(train.x[two])
        found = tuple(out.shape) if isinstance(out, torch.Tensor) else type(out).__name__
        if found != (2, classes):
            advice = f"Give it {classes} outputs: the largest label is {classes - 1}."
            raise _wrong(model, shape, classes, f"made {found} of two samples", advice)
        torch.autograd.grad(functional.cross_entropy(out, train.y[two]), trained)
        network.eval()
        network(train.x[two])


@contextmanager
def _told(model: str, shape: Shape, classes: int) -> Iterator[None]:
    """Turn any error that a network raises into an error of the parameter `model`."""
    try:
        yield
    except ParameterError:
        raise
    except Exception as error:
        advice = "Images have the shape (channels, height, width), and `mlp` takes any shape."
        raise _wrong(model, shape, classes, f"raised {said(error)}", advice) from error


def _wrong(model: str, shape: Shape, classes: int, found: str, advice: str) -> ParameterError:
    """The error of a network that does not fit the data."""
    expected = f"a network for samples of shape {shape} that returns {classes} numbers for each"
    return wrong("model", expected, model, advice, found=f"`model = {model}`, which {found}")


def _size(dataset: str, data_dir: str) -> tuple[Shape, int]:
    """The shape of a sample, and the number of classes."""
    train, _ = datasets.load(dataset, data_dir)
    return tuple(train.x.shape[1:]), datasets.class_count(dataset, data_dir)
