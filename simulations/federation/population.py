"""The clients of a run: honest ones and attackers."""

from __future__ import annotations

from functools import lru_cache, partial

from flwr.app import Context
from flwr.client import NumPyClient

from flwr_byzantine.attacks import ColludingAttack
from flwr_byzantine.clients import MomentumClient
from simulations.catalog import datasets
from simulations.catalog.attacks import plan_attack
from simulations.catalog.networks import network_factory
from simulations.config import RunConfig
from simulations.federation.attackers import attack_client
from simulations.federation.straggler import Straggler
from simulations.federation.trained_once import TrainedOnce
from simulations.torch_client import LabelMap, Poison, TorchClient


def honest_client(
    config: RunConfig,
    client_id: int,
    label_map: LabelMap | None = None,
    context: Context | None = None,
    poison: Poison | None = None,
) -> NumPyClient:
    """Build client number ``client_id`` of a run as it is without an attack.

    If it has a momentum, the context of its node keeps it.
    """
    train, _ = datasets.load(config.dataset, config.data_dir)
    trainer: NumPyClient = TorchClient(
        network_factory(config.model, config.dataset, config.data_dir),
        train.x,
        train.y,
        config.shares()[client_id],
        client_id=client_id,
        seed=config.seed,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        local_steps=config.local_steps,
        local_epochs=config.local_epochs,
        weight_decay=config.weight_decay,
        payload=config.payload,
        label_map=label_map,
        poison=poison,
    )
    if label_map is None and poison is None and _others_know(config):
        trainer = TrainedOnce(trainer, config, client_id)
    if not config.momentum:
        return trainer
    return MomentumClient(
        trainer, config.momentum, context=context, client_id=client_id, payload=config.payload
    )


def client(config: RunConfig, client_id: int, context: Context) -> NumPyClient:
    """Return a client of a run, honest or not. It is built once in a process unless it has a memory.

    Parameters
    ----------
    config : RunConfig
        The run.
    client_id : int
        The number of the client, from 0.
    context : Context
        The context of its node.
    """
    if client_id in config.who.silent:
        return Straggler(client_id)
    remembers = config.attack != "none" and plan_attack(config.attack, config.attack_args).remembers
    if config.momentum or remembers:
        make_honest = partial(honest_client, config, context=context)
        return attack_client(make_honest, client_id, config, context)
    return _without_memory(config, client_id)


@lru_cache(maxsize=8)
def _others_know(config: RunConfig) -> bool:
    """Return whether attackers compute what honest clients send."""
    if config.attack == "none":
        return False
    return isinstance(plan_attack(config.attack, config.attack_args).attack, ColludingAttack)


@lru_cache(maxsize=256)
def _without_memory(config: RunConfig, client_id: int) -> NumPyClient:
    """Return a client without a memory."""
    return attack_client(partial(honest_client, config), client_id, config)
