"""The clients of a run: honest ones, and those that the attack makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial

from flwr.client import NumPyClient
from flwr.common import NDArrays, Scalar

from simulations.catalog import datasets
from simulations.catalog.networks import network_factory
from simulations.config import RunConfig
from simulations.federation.attackers import attack_client
from simulations.torch_client import LabelMap, TorchClient

CELL = "cell"  # the key under which the server says which of several runs a message belongs to


def honest_client(
    config: RunConfig, client_id: int, label_map: LabelMap | None = None
) -> NumPyClient:
    """Build client number ``client_id`` of a run as it is when nobody attacks."""
    train, _ = datasets.load(config.dataset, config.data_dir)
    shares = datasets.partition(
        config.dataset,
        config.data_dir,
        config.partition,
        config.alpha,
        config.clients,
        config.seed,
        config.auxiliary,
    )
    return TorchClient(
        network_factory(config.model, config.dataset, config.data_dir),
        train.x,
        train.y,
        shares[client_id],
        client_id=client_id,
        seed=config.seed,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        local_steps=config.local_steps,
        local_epochs=config.local_epochs,
        payload=config.payload,
        label_map=label_map,
    )


@lru_cache(maxsize=256)
def client(config: RunConfig, client_id: int) -> NumPyClient:
    """Return a client of a run, honest or not, built once per process.

    Parameters
    ----------
    config : RunConfig
        The run.
    client_id : int
        The number of the client, from 0.
    """
    return attack_client(partial(honest_client, config), client_id, config)


class CellClient(NumPyClient):
    """One client in several runs, told by the server which of them is going on.

    Parameters
    ----------
    cells : sequence of RunConfig
        The runs.
    client_id : int
        The number of the client, from 0.
    """

    def __init__(self, cells: Sequence[RunConfig], client_id: int) -> None:
        self.cells, self.client_id = cells, client_id

    def fit(
        self, parameters: NDArrays, config: dict[str, Scalar]
    ) -> tuple[NDArrays, int, dict[str, Scalar]]:
        """Train as this client does in the run that is going on."""
        return client(self.cells[int(config[CELL])], self.client_id).fit(parameters, config)

    def evaluate(
        self, parameters: NDArrays, config: dict[str, Scalar]
    ) -> tuple[float, int, dict[str, Scalar]]:
        """Evaluate as this client does in the run that is going on."""
        return client(self.cells[int(config[CELL])], self.client_id).evaluate(parameters, config)
