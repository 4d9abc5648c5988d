"""The experiments of the ByGARS paper, section 5, on MNIST: ``python -m simulations.bygars_results``.

Runs that are done already are not run again: interrupt it at will. Each run is the one that
``python -m simulations run`` with the options of `SETTING` and `CELLS` makes, bit for bit.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from simulations.config import RunConfig
from simulations.plots import plot_accuracy
from simulations.reputation_plot import plot_reputations
from simulations.results import Record, save
from simulations.runner import run_all

SETTING: dict[str, Any] = {
    "clients": 8, "dataset": "mnist", "model": "lenet", "payload": "gradients", "batch_size": 128,
    "learning_rate": 0.1, "rounds": 300, "auxiliary": 250, "eval_every": 25,
}  # fmt: skip
ATTACKS = {
    "none": 0, "sign_flip": 8, "mixed": 7, "constant": 6, "label_flip": 6, "lie": 3,
}  # fmt: skip
RULES: dict[str, dict[str, Any]] = {
    "mean": {}, "median": {}, "baseline": {}, "bygars": {}, "bygars++": {},
}  # fmt: skip


def cells() -> Iterator[tuple[str, str]]:
    """Yield every rule and attack of the table; without benign clients there is no baseline."""
    for rule in RULES:
        for attack, byzantine in ATTACKS.items():
            if rule != "baseline" or byzantine < SETTING["clients"]:
                yield rule, attack


def configuration(rule: str, attack: str, data_dir: str) -> RunConfig:
    """Return one run of the table."""
    return RunConfig(
        rule=rule,
        rule_args=RULES[rule],
        attack=attack,
        byzantine=ATTACKS[attack],
        data_dir=data_dir,
        **SETTING,
    )


def folder(runs: Path, rule: str, attack: str) -> Path:
    """Return where a run's result lies."""
    return runs / f"{rule.replace('+', 'p')}-{attack}"


def read(runs: Path, rule: str, attack: str) -> Record | None:
    """Return a run's result, or None where it is not there."""
    path = folder(runs, rule, attack) / "result.json"
    return json.loads(path.read_text()) if path.exists() else None


def run_missing(runs: Path, data_dir: str) -> None:
    """Make the runs that are not there, in one engine."""
    missing = [cell for cell in cells() if read(runs, *cell) is None]
    if not missing:
        return

    def keep(number: int, result: Record | Exception) -> None:
        if isinstance(result, Exception):
            print(*missing[number], repr(result))
            return
        save(result, folder(runs, *missing[number]))
        print(*missing[number], result["final_accuracy"], flush=True)

    run_all([configuration(*cell, data_dir) for cell in missing], on_cell=keep)


def table(results: dict[tuple[str, str], Record]) -> str:
    """Return final accuracies as a Markdown table."""
    lines = ["| attack | " + " | ".join(RULES) + " |", "|---" * (len(RULES) + 1) + "|"]
    for attack, byzantine in ATTACKS.items():
        name = "no attack" if attack == "none" else f"{byzantine} of 8, {attack}"
        accuracies = [
            f"{100 * results[rule, attack]['final_accuracy']:.1f}"
            if (rule, attack) in results
            else "-"
            for rule in RULES
        ]
        lines.append(f"| {name} | " + " | ".join(accuracies) + " |")
    return "\n".join(lines) + "\n"


def summary(result: Record) -> Record:
    """Return what is kept of a run: its settings, its curve, and its last scores."""
    evaluated = [r for r in result["rounds"] if r["accuracy"] is not None]
    kept = ("final_accuracy", "final_loss", "parameters_sha256", "versions")
    return {
        "config": {k: v for k, v in result["config"].items() if k != "data_dir"},
        **{key: result[key] for key in kept},
        "accuracy": {r["round"]: r["accuracy"] for r in evaluated},
        "reputations": result["rounds"][-1].get("reputations"),
    }


def main(
    runs: Annotated[Path, typer.Option(help="Where the runs' results lie.")] = Path("runs/bygars"),
    out: Annotated[Path, typer.Option(help="Where tables and figures go.")] = Path(
        "docs/results/bygars"
    ),
    data_dir: Annotated[str, typer.Option(help="The folder that holds MNIST/raw.")] = "data",
) -> None:
    """Make the runs that are missing, and write the table and the figures of those that are there."""
    run_missing(runs, data_dir)
    found = {cell: result for cell in cells() if (result := read(runs, *cell)) is not None}
    out.mkdir(parents=True, exist_ok=True)
    (out / "table.md").write_text(table(found))
    text = json.dumps([summary(result) for result in found.values()], indent=1)
    (out / "results.json").write_text(text + "\n")
    for attack in ATTACKS:
        shown = {rule: r for (rule, other), r in found.items() if other == attack}
        plot_accuracy([*shown.values()], [*shown], out / f"accuracy-{attack}.png", attack)
        for rule in ("bygars", "bygars++"):
            if rule in shown:
                name = folder(out, rule, attack).name
                plot_reputations(shown[rule], out / f"reputations-{name}.png")


if __name__ == "__main__":
    typer.run(main)
