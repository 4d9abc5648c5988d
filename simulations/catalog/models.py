"""The networks of the papers, for images of any size."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from itertools import pairwise
from math import prod

import torch
from torch import nn

from flwr_byzantine.checks import wrong
from simulations.catalog import own

Shape = tuple[int, ...]  # of one sample; channels, height, width of an image
BUILDS = "a function or a class that builds a torch `nn.Module`"


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


def cnn_byzfl(shape: Shape, classes: int) -> nn.Module:
    """Build the network of ByzFL's benchmark on MNIST: 431,080 parameters for 28 x 28 grey pixels."""
    channels, height, width = shape
    flat = prod(((side - 4) // 2 - 4) // 2 for side in (height, width))
    return nn.Sequential(
        nn.Conv2d(channels, 20, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(20, 50, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(50 * flat, 500),
        nn.ReLU(),
        nn.Linear(500, classes),
    )


def cnn_bucketing(shape: Shape, classes: int) -> nn.Module:
    """Build the network of the bucketing paper: two convolutions, dropout, 128 hidden units, dropout."""
    channels, height, width = shape
    return nn.Sequential(
        nn.Conv2d(channels, 32, 3),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(0.25),
        nn.Flatten(),
        nn.Linear(64 * ((height - 4) // 2) * ((width - 4) // 2), 128),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(128, classes),
    )


class ChannelsLast(nn.Module):
    """Lay images out pixel by pixel, which makes convolution and pooling up to 1.6 times as fast."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the same images in another memory format."""
        return images.contiguous(memory_format=torch.channels_last)


def convolutional(
    shape: Shape,
    classes: int,
    channels: tuple[tuple[int, ...], ...],
    hidden: tuple[int, ...],
    dropout: float = 0.0,
) -> nn.Module:
    """Build groups of 3x3 convolutions with ReLU, each group pooled, and a perceptron on top.

    Parameters
    ----------
    shape : tuple of int
        Channels, height, width.
    classes : int
        Number of outputs.
    channels : tuple of tuple of int
        The output channels of each convolution, by group; every group halves the image.
    hidden : tuple of int
        Widths of the fully connected layers before the last.
    dropout : float (default: 0.0)
        Dropout probability after each pooling and each hidden layer.
    """
    dropped = [nn.Dropout(dropout)] if dropout else []
    inputs, height, width = shape
    layers: list[nn.Module] = [ChannelsLast()]
    for group in channels:
        for outputs in group:
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
            inputs = outputs
        layers += [nn.MaxPool2d(2), *dropped]
        height, width = height // 2, width // 2
    layers.append(nn.Flatten())
    widths = [inputs * height * width, *hidden]
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU(), *dropped]
    return nn.Sequential(*layers, nn.Linear(widths[-1], classes))


MODELS: dict[str, Callable[[Shape, int], nn.Module]] = {
    "mlp-small": partial(mlp, hidden=(64, 64)),
    "mlp": partial(mlp, hidden=(128, 128)),  # Phocas (Xie et al. 2018), table 2
    "lenet": lenet,
    "cnn-byzfl": cnn_byzfl,
    "cnn-bucketing": cnn_bucketing,  # Karimireddy, He, Jaggi 2022, appendix
    # ByGARS (Regatti et al. 2020), section 5, does not give the widths of its two-layer CNN. Neither does
    # Fall of Empires (Xie et al. 2019), section 6.1, for its four convolutions and one full layer.
    "cnn-two": partial(convolutional, channels=((16,), (32,)), hidden=(64,)),
    "cnn-four": partial(convolutional, channels=((16, 16), (32, 32)), hidden=()),
    # Phocas (Xie et al. 2018), table 3
    "cnn-phocas": partial(
        convolutional, channels=((32, 32), (64, 64)), hidden=(512, 512), dropout=0.2
    ),
}


@cache
def model_factory(name: str, shape: Shape, classes: int) -> Callable[[], nn.Module]:
    """Return the same zero-argument builder each time it is asked for the same network."""
    if not own.is_path(name):
        return partial(MODELS[name], shape, classes)
    if isinstance(own.imported("model", name), nn.Module):
        found = f"`model = {name}`, which is a network"
        raise wrong(
            "model", BUILDS, name, "Name what builds it: a class, or a function.", found=found
        )
    return partial(_own, name, shape, classes)


def _own(path: str, shape: Shape, classes: int) -> nn.Module:
    """Build the network of an import path."""
    network = own.called("model", path, BUILDS, {"shape": shape, "classes": classes})
    if not isinstance(network, nn.Module):
        found = f"`model = {path}`, which returned a value of type {type(network).__name__}"
        raise wrong("model", BUILDS, path, "Return the network.", found=found)
    return network


def initial_model(name: str, shape: Shape, classes: int, seed: int) -> nn.Module:
    """Build a network whose initial weights depend on the seed alone."""
    # This comes before the seed is set, because importing the user's module may draw random numbers.
    build = model_factory(name, shape, classes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()
