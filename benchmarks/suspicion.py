"""Measures how far honest clients differ, which clients become suspects, and under how strong an attack.

``python -m benchmarks.suspicion honest`` runs federations without attackers, and ``attacks`` runs
federations with attackers. Both write a line of JSON for each run, and go on where they were stopped.
``summary`` prints the results, and ``chart`` draws detection against the strength of the attack.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.suspicion_chart import chart as drawn
from benchmarks.suspicion_federation import Federation, Training, run
from flwr_byzantine import attacks as library
from flwr_byzantine.aggregation import watch
from flwr_byzantine.audit import Suspicion
from flwr_byzantine.audit.marks import SHRUNK
from flwr_byzantine.strategies import fit_strategies

FOLDER = Path("docs/results/suspicion")
ROUNDS = 25
TRAINING = {
    "5 steps": Training(),
    "1 epoch": Training(steps=None, epochs=1),
    "5 epochs": Training(steps=None, epochs=5),
    "gradients": Training(gradients=True),
}
# Each strategy, and the f that it is told with 9 and with 20 clients. None: it is told no f.
RULES: dict[str, tuple[int, int] | None] = {
    "Median": None, "TrimmedMean": (4, 9), "Phocas": (4, 6), "MeaMed": (4, 9), "Krum": (3, 8),
    "MultiKrum": (3, 8), "Bulyan": (1, 4), "MultiBulyan": (1, 4), "GeometricMedian": (4, 9),
    "Medoid": None, "MinimumDiameterAveraging": (3, 3), "CovarianceFilter": (4, 9),
    "DivideAndConquer": (4, 9), "CenteredClipping": None, "ByGARS": None, "ByGARSPlusPlus": None,
    "FLTrust": None,
}  # fmt: skip
STRENGTHS = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 50.0, 70.0, 100.0, 200.0, 1e3, 1e6, 1e20)
INSIDE = {
    "LIE": library.LittleIsEnough(),
    "IPM": library.InnerProductManipulation(),
    "Min-Max": library.MinMax(),
    "Min-Sum": library.MinSum(),
    "mimic": lambda updates, f, rng: np.repeat(updates[[f]], f, axis=0),
    "free riders": lambda updates, f, rng: np.zeros((f, updates.shape[1])),
}

USUAL = Suspicion()
KEY = ("rule", "clients", "training", "attack", "seed")

app = typer.Typer(pretty_exceptions_show_locals=False)


class Seen:
    """Records what the library measured in every round of a run."""

    def __init__(self) -> None:
        self.rounds: list[dict[str, Any]] = []
        self._measures = watch.measures
        watch.measures = self.measures

    def measures(self, gated: Any, origin: Any) -> Any:
        """Call the library's function, and record its result."""
        found = self._measures(gated, origin)
        self.rounds.append({measure.name: measure.values for measure in found})
        return found


def strategy_of(name: str, f: int | None, federation: Federation) -> Any:
    """Make a strategy of the library by its name."""
    told: dict[str, Any] = {} if f is None else {"num_malicious_clients": f}
    if name in ("ByGARS", "ByGARSPlusPlus", "FLTrust"):
        told["auxiliary"] = federation.auxiliary
    if federation.training.gradients:
        told |= {"payload": "gradients", "learning_rate": 0.1}
    return getattr(fit_strategies, name)(min_fit_clients=federation.clients, **told)


def kth_largest(ratios: np.ndarray, k: int, of: int) -> float:
    """The largest factor at which some client would become a suspect: k of ``of`` rounds have to exceed it.

    ``ratios`` has the shape (rounds, n).
    """
    found = 0.0
    for end in range(k, len(ratios) + 1):
        window = np.sort(ratios[max(0, end - of) : end], axis=0)
        found = max(found, float(window[-k].max()))
    return found


def largest_ratios(rounds: list[dict[str, Any]], n: int) -> dict[str, float]:
    """How far the most unusual honest client was from the usual size, in the worst round.

    ``median`` divides by the median of all clients, so it holds without attackers. ``third`` and ``half``
    suppose that just below a third or a half of the clients were attackers that sent the model back
    unchanged, which makes the other clients look large. ``half_remembered`` supposes that these attackers
    were honest at first, so that the usual size of those rounds is remembered.
    """
    third, half = (n - 1) // 3, (n - 1) // 2
    found: dict[str, float] = {}
    for name in rounds[0]:
        values = np.array([measured[name] for measured in rounds])
        ordered = np.sort(values, axis=1)
        usual = ordered[:, n // 2]
        floor = SHRUNK * np.maximum.accumulate(usual)
        references = {
            "median": usual,
            "third": ordered[:, n - 2 * third - 1],
            "half": ordered[:, n - 2 * half - 1],
            "half_remembered": np.maximum(ordered[:, n - 2 * half - 1], floor),
        }
        for which, reference in references.items():
            with np.errstate(divide="ignore", invalid="ignore"):
                ratios = values / reference[:, None]
            found[f"{name} {which} once"] = float(ratios.max())
            found[f"{name} {which} {USUAL.rounds} of {USUAL.of}"] = kth_largest(
                ratios, USUAL.rounds, USUAL.of
            )
    return found


def honest_cases(runs: int) -> Iterator[dict[str, Any]]:
    """The runs without attackers: every rule, with two numbers of clients and four ways to train."""
    names, ways = list(RULES), list(TRAINING)
    for seed in range(runs):
        of = seed // len(names)
        yield {
            "rule": names[seed % len(names)],
            "clients": (9, 20)[of % 2],
            "training": ways[(of // 2) % len(ways)],
            "attack": None,
            "seed": seed,
        }


def attack_cases(seeds: int) -> Iterator[dict[str, Any]]:
    """The runs with attackers: all strengths, and the attacks that stay inside the honest spread."""
    for seed in range(seeds):
        for attack in (*STRENGTHS, *INSIDE):
            for rule in ("Phocas", "MultiKrum", "GeometricMedian"):
                yield {
                    "rule": rule, "clients": 10, "training": "1 epoch", "attack": attack, "seed": seed,
                }  # fmt: skip


def played(case: dict[str, Any], look: Seen) -> dict[str, Any]:
    """Run one case, and return the line that is written for it."""
    look.rounds = []
    federation = Federation(case["clients"], case["seed"], TRAINING[case["training"]])
    attack, byzantine = case["attack"], 0 if case["attack"] is None else 3
    told = RULES[case["rule"]]
    f = byzantine or (None if told is None else told[case["clients"] > 9])
    strategy = strategy_of(case["rule"], f, federation)
    does = library.SignFlip(scale=attack) if isinstance(attack, float) else INSIDE.get(attack)
    accuracy = run(strategy, federation, ROUNDS, byzantine, does)
    suspects = {int(client) for client in strategy.suspects}
    kept = case | {
        "honest_convicted": sum(client >= byzantine for client in suspects),
        "attackers_convicted": sum(client < byzantine for client in suspects),
        "accuracy": round(accuracy, 3),
    }
    if not byzantine:
        found = largest_ratios(look.rounds, case["clients"])
        kept["ratios"] = {name: float(f"{ratio:.4g}") for name, ratio in found.items()}
    return kept


def _go_on(path: Path, cases: Iterator[dict[str, Any]]) -> None:
    look = Seen()
    path.parent.mkdir(parents=True, exist_ok=True)
    done = [{name: kept.get(name) for name in KEY} for kept in _read(path)]
    for number, case in enumerate(cases):
        if case in done:
            continue
        kept = played(case, look)
        with path.open("a") as file:
            file.write(json.dumps(kept) + "\n")
        print(number, kept["honest_convicted"], kept["attackers_convicted"], flush=True)


Out = Annotated[Path, typer.Option(help="Where results go.")]


@app.command()
def honest(runs: int = 500, out: Out = FOLDER) -> None:
    """Run federations without attackers."""
    _go_on(out / "honest.jsonl", honest_cases(runs))


@app.command()
def attacks(seeds: int = 4, out: Out = FOLDER) -> None:
    """Run federations with attackers."""
    _go_on(out / "attacks.jsonl", attack_cases(seeds))


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@app.command()
def summary(out: Out = FOLDER) -> None:
    """Print the results of the runs."""
    runs = _read(out / "honest.jsonl")
    print(len(runs), "honest runs;", sum(r["honest_convicted"] > 0 for r in runs), "name a suspect")
    for name in runs[0]["ratios"]:
        found = [r["ratios"].get(name, 0.0) for r in runs]
        print(f"{name:36} largest {max(found):8.3g}  99 % {np.quantile(found, 0.99):8.3g}")
    for attack, parts in detection(out).items():
        print(f"{attack!s:28} {parts}")


def detection(out: Path) -> dict[str | float, dict[str, float]]:
    """Attack, or its strength -> the shares of attackers and of honest clients that became suspects."""
    groups: defaultdict[str | float, list[dict[str, Any]]] = defaultdict(list)
    for kept in _read(out / "attacks.jsonl"):
        groups[kept["attack"]].append(kept)
    return {
        attack: {
            "attackers": sum(run["attackers_convicted"] for run in runs) / (3 * len(runs)),
            "honest": sum(run["honest_convicted"] for run in runs) / (7 * len(runs)),
            "runs": len(runs),
        }
        for attack, runs in groups.items()
    }


@app.command()
def chart(out: Out = FOLDER, page: Path = Path("docs/suspects.svg")) -> None:
    """Draw detection against the strength of the attack."""
    found = {k: parts for k, parts in detection(out).items() if isinstance(k, float)}
    points = [(k, parts["attackers"], parts["honest"]) for k, parts in sorted(found.items())]
    page.write_text(drawn(points))


if __name__ == "__main__":
    app()
