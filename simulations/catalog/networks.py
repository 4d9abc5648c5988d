"""The network of a model's name, in the size that a dataset needs."""

from __future__ import annotations

from torch import nn

from simulations.catalog import datasets
from simulations.catalog.models import Shape, initial_model, model_factory
from simulations.torch_model import ModelFactory


def network_factory(model: str, dataset: str, data_dir: str) -> ModelFactory:
    """Return the builder of a network, the same one for the same model and dataset."""
    return model_factory(model, *_size(dataset, data_dir))


def initial_network(model: str, dataset: str, data_dir: str, seed: int) -> nn.Module:
    """Build a network with the weights that every run of this seed starts from."""
    return initial_model(model, *_size(dataset, data_dir), seed)


def _size(dataset: str, data_dir: str) -> tuple[Shape, int]:
    """The shape of a sample, and the number of classes."""
    train, test = datasets.load(dataset, data_dir)
    channels, height, width = train.x.shape[1:]
    return (channels, height, width), 1 + int(max(train.y.max(), test.y.max()))
