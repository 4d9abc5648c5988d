"""Whether the model's steps descend: their inner product with the true gradient."""

from __future__ import annotations

import math

import numpy as np
import torch
from flwr.common import NDArrays
from torch.nn import functional

from simulations.catalog import datasets
from simulations.catalog.networks import initial_network
from simulations.config import RunConfig
from simulations.streams import Stream, generator
from simulations.torch_model import load_arrays


class Alignment:
    r"""Compare steps of the global model with the gradient of the loss on a fixed training sample.

    The step :math:`w_t - w_{t+1}` has the direction of the aggregate, and

    .. math:: \langle \nabla F(w_t), w_t - w_{t+1} \rangle \geq 0

    is what DSSGD-Byzantine tolerance asks for in expectation.

    Parameters
    ----------
    config : RunConfig
        The run. Its ``gradient_samples`` training samples stand for the whole training set.

    References
    ----------
    Xie, Koyejo, Gupta 2019, Fall of Empires, definition 4.
    """

    def __init__(self, config: RunConfig) -> None:
        train, _ = datasets.load(config.dataset, config.data_dir)
        size = min(config.gradient_samples, len(train.y))
        chosen = generator(Stream.TRUE_GRADIENT, config.seed).choice(
            len(train.y), size, replace=False
        )
        self.x, self.y = train.x[chosen], train.y[chosen]
        self.model = initial_network(config.model, config.dataset, config.data_dir, config.seed)

    def measure(self, before: NDArrays, after: NDArrays) -> dict[str, float]:
        """Return inner product and cosine of the gradient at ``before`` and the step to ``after``.

        A model that did not move has no direction: its cosine is NaN.
        """
        load_arrays(self.model, before)
        self.model.eval()
        trained = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        loss = functional.cross_entropy(self.model(self.x), self.y)
        gradient = dict(
            zip(trained, torch.autograd.grad(loss, list(trained.values())), strict=True)
        )
        products = np.zeros(3)
        for name, old, new in zip(self.model.state_dict(), before, after, strict=True):
            if name in gradient:
                g = gradient[name].numpy().ravel().astype(np.float64)
                step = old.ravel().astype(np.float64) - new.ravel()
                products += g @ step, g @ g, step @ step
        product, squared_gradient, squared_step = products.tolist()
        length = (squared_gradient * squared_step) ** 0.5
        return {"inner_product": product, "cosine": product / length if length else math.nan}
