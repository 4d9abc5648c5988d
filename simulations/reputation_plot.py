"""The reputations of a run over its rounds, one line a client, coloured by what it really is."""

from __future__ import annotations

from pathlib import Path

from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from simulations.attack_plans import MIXED, Mixed, plan_attack
from simulations.attacks import byzantine_clients
from simulations.config import RunConfig
from simulations.results import Record


def kinds(config: RunConfig) -> list[str]:
    """Name what each client of a run is: benign, or the attack it commits.

    Examples
    --------
    >>> kinds(RunConfig(rule="mean", attack="sign_flip", clients=3, byzantine=1))
    ['SignFlip(scale=1.0)', 'benign', 'benign']
    """
    named = ["benign"] * config.clients
    if config.attack == "none" or config.redraw:
        return named
    attack = plan_attack(config.attack, config.attack_args).attack
    byzantine = byzantine_clients(config.clients, config.byzantine, config.seed, config.placement)
    for rank, client in enumerate(sorted(byzantine)):
        own = MIXED[rank % len(MIXED)] if isinstance(attack, Mixed) else attack
        named[client] = repr(own)
    return named


def plot_reputations(result: Record, path: Path) -> Path:
    """Draw the scores of a run of `bygars` or `bygars++` into a PNG file.

    Parameters
    ----------
    result : dict
        The result of the run.
    path : Path
        The file to write; its folder is made where it is missing.

    Returns
    -------
    Path
        The file written.
    """
    config = RunConfig(**result["config"])
    named = kinds(config)
    colours = dict.fromkeys(sorted(set(named), key=lambda kind: (kind != "benign", kind)))
    for number, kind in enumerate(colours):
        colours[kind] = colormaps["tab10"](number % 10)
    figure = Figure(figsize=(8, 4), layout="constrained")
    FigureCanvasAgg(figure)
    attack = f"{config.byzantine} of {config.clients} {config.attack}" if config.byzantine else ""
    title = f"{config.rule}, {attack or 'no attack'}"
    axes = figure.add_subplot(xlabel="round", ylabel="reputation", title=title)
    rounds = [record for record in result["rounds"] if "reputations" in record]
    for client, kind in enumerate(named):
        line = axes.plot(
            [record["round"] for record in rounds],
            [record["reputations"][client] for record in rounds],
            color=colours[kind],
        )
        if named.index(kind) == client:
            line[0].set_label(f"{kind}, {named.count(kind)}x")
    axes.axhline(0, color="grey", linewidth=0.5)
    axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
    return path
