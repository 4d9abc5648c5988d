"""ByGARS and FLTrust in a federation: the server's own data, and the scores by client number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.nn import functional
from torch.utils.data import TensorDataset

from flwr_byzantine.aggregation.outcome import PREFIX
from flwr_byzantine.reputation.auxiliary import TorchAuxiliaryLoss
from simulations.catalog import datasets
from simulations.catalog.auxiliary import auxiliary_settings
from simulations.catalog.networks import initial_network
from simulations.catalog.partitions import held_out
from simulations.config import RunConfig

SCORES = {"reputation/": "reputations", "trust/": "trust"}  # of clients, among the metrics


def auxiliary_arguments(config: RunConfig) -> dict[str, Any]:
    """Return the arguments for the strategy of a run, besides those that every strategy gets."""
    settings = auxiliary_settings(
        config.rule, config.rule_args, config.learning_rate, config.local_steps
    )
    return settings | {"auxiliary": auxiliary_loss(config, settings.pop("auxiliary_batch"))}


def auxiliary_loss(config: RunConfig, batch_size: int | None) -> TorchAuxiliaryLoss:
    """Return the cross-entropy on the training samples that no client has.

    It uses one thread, because its gradients decide the model, and the order in which torch adds depends on
    the number of threads.
    """
    torch.set_num_threads(1)
    train, _ = datasets.load(config.dataset, config.data_dir)
    held = held_out(len(train.y), config.auxiliary, config.seed)
    return TorchAuxiliaryLoss(
        initial_network(config.model, config.dataset, config.data_dir, config.seed),
        functional.cross_entropy,
        TensorDataset(train.x[held], train.y[held]),
        batch_size=batch_size,
        seed=config.seed,
    )


def by_partition(strategy: Any, metrics: Mapping[str, Any] | None, clients: int) -> dict[str, Any]:
    """Put the scores in one list in the order of the clients' numbers, with None for rejected replies.

    Node ids are random, and have no meaning after the run.
    """
    found = {name.removeprefix(PREFIX): value for name, value in (metrics or {}).items()}
    kept = {k: v for k, v in found.items() if not k.startswith(tuple(SCORES))}
    for prefix, name in SCORES.items():
        if not any(k.startswith(prefix) for k in found):
            continue
        scores: list[float | None] = [None] * clients
        for reply in strategy.aggregator.last.accepted:
            scores[int(reply.metrics["partition-id"])] = found[prefix + reply.client]
        kept[name] = scores
    return kept
