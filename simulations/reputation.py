"""ByGARS in simulations: its server's own data, its step sizes, and scores by client number.

For `bygars` and `bygars++`, ``rule_args`` may hold the strategies' own arguments (``meta_steps``,
``tolerance``, ``initial_reputation``, ``max_norm_ratio``, ``normalize``) and

- ``gamma``, ``gamma_power``, ``gamma_offset``: the model's step sizes, a
  :class:`flwr_byzantine.reputation.schedules.PowerDecay`; ``gamma`` is the learning rate by default;
- ``alpha``, ``alpha_power``, ``alpha_offset``: the same for the scores;
- ``auxiliary_batch``: samples per auxiliary gradient, all of them by default.

Powers of 0 stand for constant step sizes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional
from torch.utils.data import TensorDataset

from flwr_byzantine import reputed
from flwr_byzantine.reputation.auxiliary import TorchAuxiliaryLoss
from flwr_byzantine.reputation.schedules import PowerDecay
from flwr_byzantine.strategies.bygars import ALPHA, ALPHA_PLUS_PLUS, GAMMA
from simulations import tasks
from simulations.partitions import held_out

if TYPE_CHECKING:
    from simulations.config import RunConfig

NAMES = {"bygars": "ByGARS", "bygars++": "ByGARSPlusPlus"}
PREFIX = "reputation/"

DEFAULTS: dict[str, Any] = {
    "gamma_power": GAMMA.power, "gamma_offset": GAMMA.offset, "auxiliary_batch": None,
    "initial_reputation": 0.0, "max_norm_ratio": 10.0, "normalize": True,
}  # fmt: skip
OWN: dict[str, dict[str, Any]] = {
    "bygars": {
        "alpha": ALPHA.initial, "alpha_power": ALPHA.power, "alpha_offset": ALPHA.offset,
        "meta_steps": 3, "tolerance": None,
    },
    "bygars++": {
        "alpha": ALPHA_PLUS_PLUS.initial, "alpha_power": ALPHA_PLUS_PLUS.power,
        "alpha_offset": ALPHA_PLUS_PLUS.offset,
    },
}  # fmt: skip


def arguments(config: RunConfig) -> dict[str, Any]:
    """Return what the strategy of a run is built with, besides what every strategy is."""
    settings = _settings(config)
    return settings | {"auxiliary": auxiliary_loss(config, settings.pop("auxiliary_batch"))}


def check(config: RunConfig) -> None:
    """Raise ValueError where the strategy of a run cannot be built; loads no data."""
    settings = _settings(config)
    batch = settings.pop("auxiliary_batch")
    getattr(reputed, NAMES[config.rule])(
        auxiliary=TorchAuxiliaryLoss, payload=config.payload, **settings
    )
    if config.auxiliary < max(1, batch or 0):
        raise ValueError(
            f"Parameter `auxiliary` should be at least {max(1, batch or 0)} for the rule "
            f"`{config.rule}`. Found `auxiliary = {config.auxiliary}`. Leave it out for the paper's 250."
        )


def auxiliary_loss(config: RunConfig, batch_size: int | None) -> TorchAuxiliaryLoss:
    """Return the cross-entropy on the training samples that no client has.

    Its gradients decide the model, and torch adds in an order that depends on its threads: one thread.
    """
    torch.set_num_threads(1)
    train, _ = tasks.load(config.dataset, config.data_dir)
    held = held_out(len(train.y), config.auxiliary, config.seed)
    return TorchAuxiliaryLoss(
        tasks.initial_network(config),
        functional.cross_entropy,
        TensorDataset(train.x[held], train.y[held]),
        batch_size=batch_size,
        seed=config.seed,
    )


def by_partition(strategy: Any, metrics: Mapping[str, Any] | None, clients: int) -> dict[str, Any]:
    """Put the scores in the order of the clients' numbers, as one list; None for replies rejected.

    Node ids are random, and of no interest after the run.
    """
    told = {k: v for k, v in (metrics or {}).items() if not k.startswith(PREFIX)}
    if metrics is not None and len(told) < len(metrics):
        scores: list[float | None] = [None] * clients
        for reply in strategy.aggregator.last.accepted:
            scores[int(reply.metrics["partition-id"])] = metrics[PREFIX + reply.client]
        told["reputations"] = scores
    return told


def _settings(config: RunConfig) -> dict[str, Any]:
    """The arguments of the strategy, with defaults and step sizes filled in."""
    known = {"gamma": config.learning_rate, **DEFAULTS, **OWN[config.rule]}
    if unknown := sorted(set(config.rule_args) - set(known)):
        raise ValueError(
            f"Parameter `rule_args` should be made of {', '.join(known)}. Found {unknown}. "
            f"The rule `{config.rule}` has no other arguments."
        )
    settings: dict[str, Any] = {**known, **config.rule_args}
    schedules = {
        "learning_rate": _schedule(settings, "gamma"),
        "meta_learning_rate": _schedule(settings, "alpha"),
    }
    return settings | schedules


def _schedule(given: dict[str, Any], name: str) -> float | PowerDecay:
    """Take a schedule's three numbers out of the arguments."""
    initial, power, offset = (given.pop(name + suffix) for suffix in ("", "_power", "_offset"))
    return PowerDecay(initial, power, offset) if power else float(initial)
