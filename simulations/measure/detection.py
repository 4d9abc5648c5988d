"""Whether a rule rejected the clients that really were Byzantine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import Any

from flwr_byzantine.audit import REJECTED, AuditRecord, precision_recall
from flwr_byzantine.lab.kept import Record
from simulations.catalog.attacks import plan_attack
from simulations.config import RunConfig

Partitions = Mapping[str, int]


def verdicts(
    strategy: Any, config: RunConfig, server_round: int, partitions: Partitions
) -> dict[str, list[Any]]:
    """Return which clients answered in a round, which were Byzantine, and which were rejected, by number.

    ``used`` is each client's part in the result; None if it is not known.

    Parameters
    ----------
    strategy : Strategy
        The strategy that has just aggregated the round. A strategy without an audit gives no information.
    config : RunConfig
        The run.
    server_round : int
        The round.
    partitions : mapping of str to int
        The server's name of a client -> its number.
    """
    if not hasattr(strategy, "audit"):
        return {}
    records = list(takewhile(lambda record: record.round == server_round, reversed(strategy.audit)))
    rejected = [r.client for r in records if r.verdict in REJECTED]
    byzantine: frozenset[int] = frozenset()
    if config.attack != "none" and _may_be_on(config, server_round):
        byzantine = config.who.byzantine_in(server_round) & frozenset(partitions.values())
    used: list[float | None] = [None] * config.clients
    for record in records:
        if record.client in partitions:
            used[partitions[record.client]] = record.used
    return {
        "answered": sorted(partitions.values()),
        "byzantine": sorted(byzantine),
        "rejected": sorted(partitions[client] for client in rejected if client in partitions),
        "used": used,
    }


def answered(seen: Record, clients: int) -> Sequence[int]:
    """Return the numbers of the clients that answered in a round."""
    numbers: Sequence[int] = seen.get("answered", range(clients))
    return numbers


def _may_be_on(config: RunConfig, server_round: int) -> bool:
    """Whether the attack can be on in a round, without its random choices."""
    schedule = plan_attack(config.attack, config.attack_args).schedule(config.attack_start)
    return replace(schedule, fraction=1.0).is_on(server_round, config.seed)


def detection(config: RunConfig, rounds: Sequence[Record]) -> dict[str, float | None]:
    """Return precision and recall of the rejections over all rounds with a result.

    Examples
    --------
    >>> seen = [{"round": 1, "byzantine": [0, 1], "rejected": [0], "skipped": 0}]
    >>> detection(RunConfig(clients=3), seen)
    {'precision': 1.0, 'recall': 0.5}
    """
    records, byzantine = [], set()
    for seen in rounds:
        if "rejected" not in seen or seen.get("skipped"):
            continue
        names = {client: f"{seen['round']}/{client}" for client in answered(seen, config.clients)}
        byzantine |= {names[client] for client in seen["byzantine"]}
        records += [
            AuditRecord(seen["round"], name, "dropped" if client in seen["rejected"] else "kept")
            for client, name in names.items()
        ]
    return precision_recall(records, byzantine)._asdict()
