"""How far honest clients differ, who is convicted, and how strong an attack has to be for that.

``python -m benchmarks.suspicion honest`` runs federations without attackers, ``attacks`` some with. Both write
a line of JSON for each run and go on where they were stopped; ``summary`` says what they came to, and
``chart`` draws detection against strength.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.suspicion_chart import chart as drawn
from flwr_byzantine.aggregation import watch
from simulations.config import RunConfig
from simulations.federation import strategies
from simulations.federation.runner import run_all

FOLDER = Path("docs/results/suspicion")
ROUNDS, ALPHA = 25, 0.1
LOCAL: tuple[dict[str, Any], ...] = (
    {"local_steps": 5},
    {"local_epochs": 1},
    {"local_epochs": 5},
    {"payload": "gradients"},
)
# Rules, and the f that they are told of 9 and of 20 clients.
RULES = {
    "median": (0, 0), "trimmed_mean": (4, 9), "phocas": (4, 6), "mea_med": (4, 9), "krum": (3, 8),
    "multi_krum": (3, 8), "bulyan": (1, 4), "multi_bulyan": (1, 4), "geometric_median": (4, 9),
    "medoid": (0, 0), "minimum_diameter_averaging": (3, 3), "covariance_filter": (4, 9),
    "divide_and_conquer": (4, 9), "centered_clipping": (0, 0), "nnm+phocas": (3, 6),
    "bygars": (0, 0), "bygars_plus_plus": (0, 0), "fltrust": (0, 0),
}  # fmt: skip
STRENGTHS = (1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 50.0, 100.0, 1e3, 1e6, 1e20)
INSIDE = ("lie", "mimic", "min_max", "min_sum", "free_rider", "ipm", "label_flip")

app = typer.Typer(pretty_exceptions_show_locals=False)


class Seen:
    """The strategies of runs, and what was measured of every round."""

    def __init__(self) -> None:
        self.strategy: Any = None
        self.rounds: list[dict[str, Any]] = []
        self._measures, self._build = watch.measures, strategies.build_strategy

    def measures(self, gated: Any, origin: Any) -> Any:
        """As the library's, and kept."""
        found = self._measures(gated, origin)
        self.rounds.append({measure.name: measure.values for measure in found})
        return found

    def build(self, config: RunConfig, **arguments: Any) -> Any:
        """As the simulations', and kept."""
        self.rounds = []
        self.strategy = self._build(config, **arguments)
        return self.strategy


def seen() -> Seen:
    """Look at what the library measures from here on."""
    from simulations.federation import server

    found = Seen()
    watch.measures = found.measures  # type: ignore[assignment]
    for module in (strategies, server):
        module.build_strategy = found.build  # type: ignore[attr-defined]
    return found


def kth_largest(ratios: np.ndarray, k: int, of: int) -> float:
    """The factor at which some client of (rounds, n) would have been convicted."""
    found = 0.0
    for end in range(k, len(ratios) + 1):
        window = np.sort(ratios[max(0, end - of) : end], axis=0)
        found = max(found, float(window[-k].max()))
    return found


def largest_ratios(rounds: list[dict[str, Any]], f: int) -> dict[str, float]:
    """How far the most unusual honest client was from the usual one; and had f sent next to nothing."""
    found: dict[str, float] = {}
    for name in rounds[0]:
        values = np.array([measured[name] for measured in rounds])
        ordered = np.sort(values, axis=1)
        middle = values.shape[1] // 2
        for suffix, place in (("", middle), ("_lowered", max(0, middle - f))):
            with np.errstate(divide="ignore", invalid="ignore"):
                ratios = values / ordered[:, [place]]
            found[f"{name}{suffix}_1_of_1"] = float(ratios.max())
            found[f"{name}{suffix}_3_of_10"] = kth_largest(ratios, 3, 10)
    return found


def honest_configs(runs: int) -> Iterator[RunConfig]:
    """The runs: every rule, both APIs, two sizes, four ways to train."""
    names = list(RULES)
    for seed in range(runs):
        rule, size = names[seed % len(names)], (seed // len(names)) % 2
        local = LOCAL[(seed // (2 * len(names)) + seed) % len(LOCAL)]
        yield RunConfig(
            rule=rule,
            clients=(9, 20)[size],
            assumed_byzantine=RULES[rule][size],
            api=("message", "legacy")[(seed // 7) % 2],
            **_usual(seed),
            **local,
        )


def attack_configs(seeds: int) -> Iterator[RunConfig]:
    """Attackers of all strengths, and those that stay inside the honest spread."""
    sign_flips = [("sign_flip", {"scale": strength}) for strength in STRENGTHS]
    for seed in range(seeds):
        for attack, arguments in [*sign_flips, *((name, {}) for name in INSIDE)]:
            for rule in ("phocas", "multi_krum", "geometric_median"):
                yield RunConfig(
                    rule=rule,
                    clients=10,
                    byzantine=3,
                    attack=attack,
                    attack_args=arguments,
                    local_epochs=1,
                    **_usual(seed),
                )


def _usual(seed: int) -> dict[str, Any]:
    return {
        "rounds": ROUNDS, "seed": seed, "partition": "dirichlet", "alpha": ALPHA,
        "eval_every": ROUNDS, "placement": "first",
    }  # fmt: skip


def run(config: RunConfig, look: Seen) -> dict[str, Any]:
    """One run, and what is kept of it."""
    (result,) = run_all([config], inline=True)
    if isinstance(result, Exception):
        raise result
    byzantine = config.byzantine
    partitions = partitions_of(look.strategy)
    convicted = sorted(partitions[client] for client in look.strategy.suspects)
    kept: dict[str, Any] = {
        "config": json.loads(config.model_dump_json(exclude_defaults=True)),
        "honest_convicted": sum(number >= byzantine for number in convicted),
        "attackers_convicted": sum(number < byzantine for number in convicted),
        "accuracy": result["final_accuracy"],
    }
    if not byzantine:
        f = (config.clients - 1) // 2
        kept["ratios"] = {k: float(f"{v:.4g}") for k, v in largest_ratios(look.rounds, f).items()}
    return kept


def partitions_of(strategy: Any) -> dict[str, int]:
    """Number of each client, from what it reports."""
    return {
        record.client: int(record.name.split()[-1].split(".")[0])
        for record in strategy.audit
        if record.name is not None
    }


def _go_on(path: Path, configs: Iterator[RunConfig]) -> None:
    look = seen()
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = path.read_text().splitlines() if path.exists() else []
    done = {json.dumps(json.loads(line)["config"], sort_keys=True) for line in lines}
    for number, config in enumerate(configs):
        key = json.dumps(json.loads(config.model_dump_json(exclude_defaults=True)), sort_keys=True)
        if key in done:
            continue
        kept = run(config, look)
        with path.open("a") as file:
            file.write(json.dumps(kept) + "\n")
        print(number, kept["honest_convicted"], kept["attackers_convicted"], flush=True)


Out = Annotated[Path, typer.Option(help="Where results go.")]


@app.command()
def honest(runs: int = 500, out: Out = FOLDER) -> None:
    """Run federations without attackers."""
    _go_on(out / "honest.jsonl", honest_configs(runs))


@app.command()
def attacks(seeds: int = 3, out: Out = FOLDER) -> None:
    """Run federations with attackers."""
    _go_on(out / "attacks.jsonl", attack_configs(seeds))


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@app.command()
def summary(out: Out = FOLDER) -> None:
    """Say what the runs came to."""
    runs = _read(out / "honest.jsonl")
    print(len(runs), "honest runs;", sum(r["honest_convicted"] > 0 for r in runs), "convict somebody")
    for name in runs[0]["ratios"]:
        found = [r["ratios"].get(name, 0.0) for r in runs]
        print(f"{name:28} largest {max(found):8.3g}  99 % {np.quantile(found, 0.99):8.3g}")
    for name, rows in detection(out).items():
        for strength, found in rows:
            print(f"{name:28} {strength:8.3g}  {found}")


def detection(out: Path) -> dict[str, list[tuple[float, dict[str, float]]]]:
    """Attack -> strength, and the parts of attackers and honest clients that were convicted."""
    groups: defaultdict[tuple[str, float], list[dict[str, Any]]] = defaultdict(list)
    for kept in _read(out / "attacks.jsonl"):
        config = kept["config"]
        strength = config.get("attack_args", {}).get("scale", 0.0)
        groups[config["attack"], strength].append(kept)
    result: defaultdict[str, list[tuple[float, dict[str, float]]]] = defaultdict(list)
    for (attack, strength), runs in sorted(groups.items()):
        attackers = sum(r["config"]["byzantine"] for r in runs)
        honest_ones = sum(r["config"]["clients"] for r in runs) - attackers
        found = {
            "attackers": sum(r["attackers_convicted"] for r in runs) / attackers,
            "honest": sum(r["honest_convicted"] for r in runs) / honest_ones,
            "runs": len(runs),
        }
        result[attack].append((strength, found))
    return dict(result)


@app.command()
def chart(out: Out = FOLDER) -> None:
    """Draw detection against the strength of the attack."""
    found = detection(out)["sign_flip"]
    points = [(strength, parts["attackers"], parts["honest"]) for strength, parts in found]
    (out / "detection.svg").write_text(drawn(points))


if __name__ == "__main__":
    app()
