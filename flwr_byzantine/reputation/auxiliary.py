"""A loss on the server's own data, by which ByGARS, ByGARS++ and FLTrust judge clients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from flwr_byzantine.checks import ParameterError, is_whole, require

if TYPE_CHECKING:
    import torch

Array = npt.NDArray[Any]


class AuxiliaryLoss(Protocol):
    """The loss L_t of a round and its gradient, on data that no client has touched.

    Within a round, both belong to the same minibatch. The algorithms ask for the gradient at the round's
    model in another thread, while the clients compute. Flower's server never causes two calls at a time.
    With ByGARS, the loss may read ``strategy.reputations`` in that thread, and gets the scores before the
    round. If the loss starts threads, it should hand these scores to them.
    """

    def __call__(self, parameters: list[Array], server_round: int) -> Sequence[Array | None]:
        """Compute the gradient of L_t.

        Parameters
        ----------
        parameters : list[np.ndarray]
            The model's tensors in the model's order. They are read-only.
        server_round : int
            t, counted from 1.

        Returns
        -------
        Sequence[np.ndarray or None]
            One array for each tensor, with its shape. None stands for a tensor without a gradient, such as a
            BatchNorm buffer. The model keeps such a tensor unchanged.
        """

    def loss(self, parameters: list[Array], server_round: int) -> float:
        """Compute L_t itself. Only ByGARS with a `tolerance` asks for it."""


class TorchAuxiliaryLoss:
    """The mean loss of a PyTorch model on a small data set.

    It is computed with a copy of the model. Layers with running statistics use those of the minibatch, as
    in clients that train. All other layers, such as dropout, are in evaluation mode. The gradient is None
    for buffers, integer tensors and parameters that need no gradient.

    Parameters
    ----------
    model : torch.nn.Module
        The model that clients train. The global model's tensors are its ``state_dict``, in order.
    loss_fn : Callable
        ``loss_fn(model(x), y)``, a scalar, such as ``torch.nn.functional.cross_entropy``.
    dataset : Dataset
        A map-style data set of pairs (x, y). It is read once and kept on the device. A few hundred
        samples are enough (the paper uses 250).
    batch_size : int or None
        The number of samples in each round, drawn without replacement. None means all samples.
    seed : int
        The seed and the round decide which samples are drawn.
    device : str
        The device that computes.

    Raises
    ------
    ValueError
        If a parameter is out of range. A call raises it if the tensors do not fit the model.

    Notes
    -----
    Reputations do not move buffers. So a model with BatchNorm keeps the running statistics that it began
    with. Use GroupNorm or LayerNorm instead, or set the statistics from the auxiliary data after training.

    References
    ----------
    Regatti, Chen, Gupta 2020, ByGARS, section 2: the auxiliary loss L_t.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        loss_fn: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
        dataset: torch.utils.data.Dataset[Any],
        batch_size: int | None = None,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        from copy import deepcopy

        from torch.utils.data import default_collate

        size = len(dataset)  # type: ignore[arg-type]  # map-style
        _check(size, batch_size)
        self.model = deepcopy(model).to(device).eval()
        for module in self.model.modules():
            if hasattr(module, "running_mean"):
                module.train()
        x, y = default_collate([dataset[i] for i in range(size)])
        self.x, self.y = x.to(device), y.to(device)
        self.loss_fn = loss_fn
        self.batch_size = batch_size
        self.seed = seed
        self.device = device
        owners = dict(self.model.named_parameters(remove_duplicate=False))
        first = {id(parameter): name for name, parameter in reversed(list(owners.items()))}
        self._owner = {name: first[id(p)] for name, p in owners.items() if p.requires_grad}

    def __call__(self, parameters: list[Array], server_round: int) -> list[Array | None]:
        """The gradient at the given tensors, in their dtypes."""
        import torch

        tensors = self._tensors(parameters)
        leaves = {name: tensors[name].requires_grad_() for name in set(self._owner.values())}
        loss = self._evaluate(tensors, server_round)
        gradients = dict(
            zip(
                leaves,
                torch.autograd.grad(loss, list(leaves.values()), allow_unused=True),
                strict=True,
            )
        )
        found = [gradients.get(self._owner.get(name, "")) for name in tensors]
        return [None if gradient is None else gradient.cpu().numpy() for gradient in found]

    def loss(self, parameters: list[Array], server_round: int) -> float:
        """The loss at the given tensors, on the same minibatch as the round's gradient."""
        import torch

        with torch.no_grad():
            return float(self._evaluate(self._tensors(parameters), server_round))

    def _evaluate(self, tensors: dict[str, torch.Tensor], server_round: int) -> torch.Tensor:
        from torch.func import functional_call

        shared = {name: tensors[self._owner.get(name, name)] for name in tensors}
        chosen = self._minibatch(server_round)
        output = functional_call(self.model, shared, (self.x[chosen],))
        return self.loss_fn(output, self.y[chosen])

    def _minibatch(self, server_round: int) -> Any:
        """The positions of the round's samples."""
        if self.batch_size is None:
            return slice(None)
        rng = np.random.default_rng([self.seed, server_round])
        return rng.choice(len(self.y), self.batch_size, replace=False)

    def _tensors(self, parameters: list[Array]) -> dict[str, torch.Tensor]:
        """The model's state dict with copies of the given values, because torch must not write to those."""
        import torch

        state = self.model.state_dict()
        expected = [tuple(tensor.shape) for tensor in state.values()]
        found = [np.shape(array) for array in parameters]
        if expected != found:
            raise ValueError(
                f"Parameter `parameters` should have the shapes of the model's state dict, {expected}. "
                f"Found {found}. Build the auxiliary loss with the model that clients train."
            )
        return {
            name: torch.from_numpy(np.array(array)).to(self.device)
            for name, array in zip(state, parameters, strict=True)
        }


def _check(size: int, batch_size: int | None) -> None:
    if size < 1:
        raise ParameterError(
            "Parameter `dataset` should hold at least one sample. Found none. "
            "Keep some samples out of training. The paper uses 250."
        )
    require(
        batch_size is None or (is_whole(batch_size) and 1 <= batch_size <= size),
        "batch_size",
        f"None or from 1 to the {size} samples of the data set",
        batch_size,
        "Leave it out to use all of them.",
    )
