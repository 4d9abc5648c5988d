"""The honest client: minibatch SGD in PyTorch, reproducible from (seed, client, round)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from flwr.client import NumPyClient
from flwr.common import NDArrays, Scalar
from torch import nn
from torch.nn import functional

from simulations.streams import Stream, generator
from simulations.torch_model import ModelFactory, dump_arrays, evaluate, load_arrays, shared_model

LabelMap = Callable[[np.ndarray], np.ndarray]
Poison = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


class TorchClient(NumPyClient):
    """Train a model on one client's share of a dataset.

    What ``fit`` returns depends only on the received parameters, the round, and the arguments below.
    Minibatches, dropout and all other random choices come from a new generator for
    (seed, client_id, round). Neither data nor model is copied for each client.

    Parameters
    ----------
    model_factory : callable
        Builds the model. It is called once in a process, so pass the same function object to every client.
    x : torch.Tensor
        All samples, of shape (samples, ...).
    y : torch.Tensor
        All labels, int64 of shape (samples,).
    indices : np.ndarray
        The samples of this client, as positions in ``x``.
    client_id : int
        The number of this client, reported as the metric "partition-id".
    seed : int
        Seed of the run.
    batch_size : int (default: 32)
        The number of samples in a minibatch. A client with fewer samples takes all of them.
    learning_rate : float (default: 0.1)
        Step size of plain SGD.
    local_steps : int (default: 1)
        Minibatches per round, drawn one by one without replacement within each.
    local_epochs : int, optional
        Passes over the client's samples per round, instead of ``local_steps``.
    weight_decay : float (default: 0.0)
        The parameters times this number are added to each gradient.
    payload : {"parameters", "gradients"} (default: "parameters")
        What ``fit`` returns: the parameters after local training, or the mean gradient of one
        minibatch at the parameters received (zeros for what is not trained; integers unchanged).
    label_map : callable, optional
        Applied to the labels (an int64 array) of this client's samples, in their order.
    poison : callable, optional
        Applied to this client's samples and labels, in their order, before it trains on them. It evaluates
        on the original samples.
    """

    def __init__(
        self,
        model_factory: ModelFactory,
        x: torch.Tensor,
        y: torch.Tensor,
        indices: np.ndarray,
        *,
        client_id: int,
        seed: int,
        batch_size: int = 32,
        learning_rate: float = 0.1,
        local_steps: int = 1,
        local_epochs: int | None = None,
        weight_decay: float = 0.0,
        payload: str = "parameters",
        label_map: LabelMap | None = None,
        poison: Poison | None = None,
    ) -> None:
        self.model_factory = model_factory
        self.x, self.y, self.indices = x, y, indices
        self.client_id, self.seed = client_id, seed
        self.batch_size, self.learning_rate = batch_size, learning_rate
        self.local_steps, self.local_epochs = local_steps, local_epochs
        self.weight_decay, self.payload = weight_decay, payload
        self.trained_on = _poisoned(x, y, indices, label_map, poison)

    def get_properties(self, config: dict[str, Scalar]) -> dict[str, Scalar]:
        """Return the client's number."""
        return {"partition-id": self.client_id}

    def fit(
        self, parameters: NDArrays, config: dict[str, Scalar]
    ) -> tuple[NDArrays, int, dict[str, Scalar]]:
        """Train from the received parameters in round ``config["server-round"]``."""
        server_round = int(config["server-round"])
        rng = generator(Stream.TRAINING, self.seed, self.client_id, server_round)
        model = shared_model(self.model_factory)
        load_arrays(model, parameters)
        model.train()
        with torch.random.fork_rng(devices=[]):
            # `torch.manual_seed` would queue the seed, with a stack trace, for each missing device.
            torch.default_generator.manual_seed(int(rng.integers(2**63)))
            if self.payload == "gradients":
                arrays, loss = self._gradient(model, next(self._minibatches(rng)))
            else:
                trained = [p for p in model.parameters() if p.requires_grad]
                steps = [self._step(model, trained, b) for b in self._minibatches(rng)]
                arrays, loss = dump_arrays(model), float(np.mean(steps))
        return arrays, len(self.indices), {"partition-id": self.client_id, "loss": loss}

    def evaluate(
        self, parameters: NDArrays, config: dict[str, Scalar]
    ) -> tuple[float, int, dict[str, Scalar]]:
        """Return the mean loss and the accuracy on this client's own samples."""
        model = shared_model(self.model_factory)
        load_arrays(model, parameters)
        found = evaluate(model, self.x[self.indices], self.y[self.indices])
        metrics: dict[str, Scalar] = {"partition-id": self.client_id, "accuracy": found.accuracy}
        return found.loss, len(self.indices), metrics

    def _minibatches(self, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """Yield the positions of each minibatch of a round, among the samples that it trains on."""
        _, _, indices = self.trained_on
        size = min(self.batch_size, len(indices))
        if self.local_epochs is None or self.payload == "gradients":
            for _ in range(self.local_steps):
                yield rng.choice(indices, size, replace=False, shuffle=False)
            return
        for _ in range(self.local_epochs):
            order = rng.permutation(indices)
            for start in range(0, len(order), size):
                yield order[start : start + size]

    def _loss(self, model: nn.Module, batch: np.ndarray) -> torch.Tensor:
        """Return the mean cross-entropy of a minibatch."""
        x, y, _ = self.trained_on
        chosen = torch.from_numpy(batch)
        inputs, labels = x.index_select(0, chosen), y.index_select(0, chosen)
        return functional.cross_entropy(model(inputs), labels)

    def _gradients(self, loss: torch.Tensor, trained: list[nn.Parameter]) -> list[torch.Tensor]:
        """Return the gradients of a loss and of the weight decay, if there is one."""
        gradients = list(torch.autograd.grad(loss, trained))
        if self.weight_decay:
            for gradient, parameter in zip(gradients, trained, strict=True):
                gradient.add_(parameter.detach(), alpha=self.weight_decay)
        return gradients

    def _step(self, model: nn.Module, trained: list[nn.Parameter], batch: np.ndarray) -> float:
        """Take one step of SGD and return the loss before it."""
        loss = self._loss(model, batch)
        gradients = self._gradients(loss, trained)
        with torch.no_grad():
            for parameter, gradient in zip(trained, gradients, strict=True):
                parameter.sub_(gradient, alpha=self.learning_rate)
        return loss.item()

    def _gradient(self, model: nn.Module, batch: np.ndarray) -> tuple[NDArrays, float]:
        """Return the mean gradient of a minibatch, laid out as the ``state_dict``, and the loss."""
        trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        untouched = {
            name: tensor.numpy().copy()
            if not tensor.is_floating_point()
            else np.zeros(tensor.shape, tensor.numpy().dtype)
            for name, tensor in model.state_dict().items()
            if name not in trained
        }
        loss = self._loss(model, batch)
        gradients = self._gradients(loss, list(trained.values()))
        moved = {name: g.numpy() for name, g in zip(trained, gradients, strict=True)}
        return [(moved | untouched)[name] for name in model.state_dict()], loss.item()


def _poisoned(
    x: torch.Tensor,
    y: torch.Tensor,
    indices: np.ndarray,
    label_map: LabelMap | None,
    poison: Poison | None,
) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    """Return samples, labels, and which of them to train on. Only what is changed is copied."""
    if label_map is not None:
        mapped = torch.from_numpy(label_map(y[indices].numpy()))
        y = y.clone()
        y[indices] = mapped
    if poison is not None:
        x, y = poison(x[indices], y[indices])
        indices = np.arange(len(indices))
    return x, y, indices
