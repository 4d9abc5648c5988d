"""Replies of n clients as Flower's server receives them."""

from typing import Any

import numpy as np
from flwr.common import Code, FitRes, Status, ndarrays_to_parameters
from flwr.server.client_proxy import ClientProxy

Results = list[tuple[ClientProxy, FitRes]]


class Client(ClientProxy):
    """A client that is never called."""

    def _unused(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("The benchmark hands over replies and calls no client.")

    get_properties = get_parameters = fit = evaluate = reconnect = _unused


def tensor_sizes(d: int, tensors: int = 60) -> list[int]:
    """Sizes of a model's tensors: as many small biases as large weights, d values in all."""
    biases = [min(512, d // tensors)] * (tensors // 2)
    weights = np.diff(np.linspace(0, d - sum(biases), tensors - len(biases) + 1).astype(int))
    return [int(size) for pair in zip(weights, biases, strict=True) for size in pair]


def client_replies(n: int, d: int, seed: int = 0) -> Results:
    """Replies of n clients whose float32 models lie near one another, as after local training."""
    rng = np.random.default_rng(seed)
    sizes = tensor_sizes(d)
    center = [rng.standard_normal(size, dtype=np.float32) for size in sizes]
    results: Results = []
    for i in range(n):
        arrays: list[Any] = [
            c + np.float32(0.01) * rng.standard_normal(c.size, dtype=np.float32) for c in center
        ]
        fit = FitRes(Status(Code.OK, ""), ndarrays_to_parameters(arrays), 100, {})
        results.append((Client(str(i)), fit))
    return results
