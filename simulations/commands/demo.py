"""The demonstration: FedAvg breaks under attack, the robust rules do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from flwr_byzantine.lab.kept import Record
from simulations.commands.display import progress, table
from simulations.config import RunConfig
from simulations.federation.runner import run_all
from simulations.measure.results import save
from simulations.report.plots import plot_accuracy

ROBUST = ("median", "trimmed_mean", "phocas", "krum", "multi_krum", "bulyan", "multi_bulyan")
MARGIN = 0.02  # how far below attack-free FedAvg a robust rule may end
BROKEN = 0.5  # below this, FedAvg counts as broken

# Every client draws its minibatches from all training data: the papers' guarantees are for updates
# that are independent and identically distributed, and Krum, which follows a single client in each
# round, overfits where a client holds no more than 72 digits.
SETTING: dict[str, Any] = {
    "clients": 20,
    "byzantine": 4,  # Bulyan needs n >= 4f + 3
    "attack": "gaussian",
    "dataset": "digits",
    "partition": "shared",
    "rounds": 30,
    "local_steps": 8,
    "learning_rate": 0.2,
}


class Verdict(NamedTuple):
    """Whether the demonstration shows what it should, and what it does not show."""

    holds: bool
    complaints: list[str]


def demo_runs() -> dict[str, RunConfig]:
    """Return the runs by name: the attack-free reference, FedAvg, and every robust rule."""
    reference = SETTING | {"rule": "fedavg", "attack": "none", "byzantine": 0}
    return {"fedavg, no attack": RunConfig(**reference)} | {
        rule: RunConfig(**SETTING, rule=rule) for rule in ("fedavg", *ROBUST)
    }


def judge(accuracies: dict[str, float]) -> Verdict:
    """Compare the final accuracies with the attack-free reference.

    Parameters
    ----------
    accuracies : dict of str to float
        Final accuracies by the names of `demo_runs`.
    """
    reference = accuracies["fedavg, no attack"]
    complaints = []
    if accuracies["fedavg"] > BROKEN:
        complaints.append(f"FedAvg under attack still reaches {accuracies['fedavg']:.1%}.")
    for name, accuracy in accuracies.items():
        if not name.startswith("fedavg") and not accuracy >= reference - MARGIN:
            complaints.append(f"{name} ends at {accuracy:.1%}, the reference at {reference:.1%}.")
    return Verdict(not complaints, complaints)


def demo(out: Path, console: Console, verbose: bool = False) -> bool:
    """Run the demonstration, print its table, draw its figure; return whether it held.

    Parameters
    ----------
    out : Path
        The folder for the figure and one result per run.
    console : Console
        Where to print.
    verbose : bool (default: False)
        Show what Flower logs.
    """
    runs = demo_runs()
    names, configs = list(runs), list(runs.values())
    console.print(
        "{clients} clients, {byzantine} of them Byzantine: they send Gaussian noise of standard "
        "deviation 200 instead of a model. Real digits, {rounds} rounds a run.".format(**SETTING)
    )
    with progress(configs, console) as on_round:
        outcomes = run_all(configs, on_round, verbose=verbose)
    results: list[Record] = []
    for name, outcome in zip(names, outcomes, strict=True):
        if isinstance(outcome, Exception):
            raise RuntimeError(f"The run `{name}` failed: {outcome}") from outcome
        results.append(outcome)
        save(outcome, out / name.replace(", ", "-").replace(" ", "-"))
    console.print(table(results, names))
    title = "{byzantine} of {clients} clients send Gaussian noise (digits)".format(**SETTING)
    console.print(f"Figure: {plot_accuracy(results, names, out / 'accuracy.png', title)}")
    accuracies = {n: r["final_accuracy"] for n, r in zip(names, results, strict=True)}
    verdict = judge(accuracies)
    for complaint in verdict.complaints:
        console.print(f"[red]{complaint}[/red]")
    if verdict.holds:
        console.print(
            "FedAvg is broken; every robust rule ends within "
            f"{100 * MARGIN:.0f} points of attack-free FedAvg."
        )
    return verdict.holds
