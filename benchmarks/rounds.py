"""Times whole rounds of a Flower App, to see what a rule adds to training, messages and waiting."""

from statistics import median
from typing import Any

from simulations.catalog.rules import RULES
from simulations.config import RunConfig
from simulations.federation.runner import run_all

LIMIT = 1.1  # for the time of a round, divided by that of the same app with Flower's FedAvg
SETTING: dict[str, Any] = {
    "clients": 20, "assumed_byzantine": 4, "dataset": "digits", "model": "mlp", "eval_every": 1000,
}  # fmt: skip


def rounds(number: int, repeat: int) -> list[dict[str, Any]]:
    """Seconds that a round takes with each rule in Flower's Ray engine, against FedAvg in the same engine.

    Parameters
    ----------
    number : int
        Number of rounds of a run. The first is not counted.
    repeat : int
        Number of runs of each rule. All rules take turns.
    """
    names = [rule for rule in RULES if rule not in ("fedavg", "baseline")]
    turns = [rule for _ in range(repeat) for rule in ("fedavg", *names)]
    results = run_all([RunConfig(**SETTING, rule=rule, rounds=number) for rule in turns])
    seconds: dict[str, list[float]] = {rule: [] for rule in turns}
    for rule, result in zip(turns, results, strict=True):
        if isinstance(result, Exception):
            raise result
        seconds[rule].append(result["seconds_per_round"])
    rows = []
    for rule, own in seconds.items():
        ratios = [one / other for one, other in zip(own, seconds["fedavg"], strict=True)]
        rows.append(
            {
                "name": rule,
                "seconds": median(own),
                "ratio": median(ratios),
                "ratio_min": min(ratios),
                "ratio_max": max(ratios),
                "limit_time": None if rule == "fedavg" else LIMIT,
            }
        )
    return rows
