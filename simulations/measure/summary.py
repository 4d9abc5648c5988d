"""The summary of a run of an experiment, which is small enough to keep hundreds of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flwr_byzantine.lab.kept import Record
from simulations.measure.detection import answered
from simulations.measure.fairness import mean_used

CURVES = (
    "round", "loss", "accuracy", "top3", "inner_product", "cosine", "reputations", "attack_success_rate"
)  # fmt: skip
KEPT = (
    "final_accuracy", "final_top3", "final_loss", "seconds_per_round", "parameters_sha256", "versions"
)  # fmt: skip
OPTIONAL = (
    "final_attack_success_rate", "final_worst_client", "provenance", "seconds"
)  # fmt: skip  # results that were kept earlier do not have these


def summarise(result: Record, places: Sequence[str]) -> Record:
    """Return the curves, the counts and the settings of a run, but not the ``places`` on this machine.

    The curves hold the rounds in which the model was evaluated. A missing value is None.
    """
    rounds = result["rounds"]
    seen = [record for record in rounds if record["accuracy"] is not None]
    curves = {
        name: [_rounded(record.get(name)) for record in seen]
        for name in CURVES
        if any(name in record for record in seen)
    }
    best = {f"best_{name}": max(record[name] for record in seen) for name in ("accuracy", "top3")}
    return {
        "config": {key: value for key, value in result["config"].items() if key not in places},
        **{key: result[key] for key in (*KEPT, *OPTIONAL) if key in KEPT or key in result},
        **best,
        "curves": curves,
        "client_accuracies": _rounded(result["client_accuracies"]),
        "used": _rounded(mean_used(rounds, result["config"]["clients"])),
        "rejected": rejection_rates(rounds, result["config"]["clients"]),
        "skipped": sum(bool(record.get("skipped")) for record in rounds),
        "replaced": sum(int(record.get("num_replaced", 0)) for record in rounds),
        "aggregate_seconds": sum(record["aggregate_seconds"] for record in rounds) / len(rounds),
    }


def rejection_rates(rounds: Sequence[Record], clients: int) -> dict[str, float | None]:
    """Return the shares of Byzantine and of honest clients' replies that the rule rejected.

    Examples
    --------
    >>> rejection_rates([{"byzantine": [0], "rejected": [0, 1]}], clients=3)
    {'byzantine': 1.0, 'honest': 0.5}
    """
    judged = [r for r in rounds if "rejected" in r and not r.get("skipped")]
    rejected = [
        (r, client in r["rejected"], client) for r in judged for client in answered(r, clients)
    ]

    def share(chosen: Callable[[Any, int], bool]) -> float | None:
        verdicts = [verdict for record, verdict, client in rejected if chosen(record, client)]
        return sum(verdicts) / len(verdicts) if verdicts else None

    return {
        "byzantine": share(lambda record, client: client in record["byzantine"]),
        "honest": share(lambda record, client: client not in record["byzantine"]),
    }


def _rounded(value: Any) -> Any:
    """Six significant digits."""
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value
