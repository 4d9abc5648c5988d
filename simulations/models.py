"""The networks of the papers, for images of any size."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from itertools import pairwise
from math import prod

import torch
from torch import nn

Shape = tuple[int, int, int]  # channels, height, width


def mlp(shape: Shape, classes: int, hidden: tuple[int, ...]) -> nn.Module:
    """Build a multi-layer perceptron with ReLU between its layers."""
    widths = [prod(shape), *hidden]
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], classes))


def lenet(shape: Shape, classes: int) -> nn.Module:
    """Build LeNet-5 (LeCun et al. 1998) with ReLU and max pooling.

    Images of fewer than 32 pixels a side are padded, as in the original on 28-pixel digits.
    """
    channels, height, width = shape
    padding = max(0, (32 - min(height, width)) // 2)
    flat = prod(((side + 2 * padding - 4) // 2 - 4) // 2 for side in (height, width))
    return nn.Sequential(
        nn.Conv2d(channels, 6, 5, padding=padding),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * flat, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, classes),
    )


MODELS: dict[str, Callable[[Shape, int], nn.Module]] = {
    "mlp-small": partial(mlp, hidden=(64, 64)),
    "mlp": partial(mlp, hidden=(128, 128)),  # Phocas (Xie et al. 2018), table 2
    "lenet": lenet,
}


@cache
def model_factory(name: str, shape: Shape, classes: int) -> Callable[[], nn.Module]:
    """Return the same zero-argument builder each time it is asked for the same network."""
    return partial(MODELS[name], shape, classes)


def initial_model(name: str, shape: Shape, classes: int, seed: int) -> nn.Module:
    """Build a network whose initial weights depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return model_factory(name, shape, classes)()
