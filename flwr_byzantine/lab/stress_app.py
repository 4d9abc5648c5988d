"""An app under several attacks, with several rules: a run for each pair, several at once."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from flwr_byzantine.checks import require, require_whole, wrong
from flwr_byzantine.lab.cell import APP, FEDAVG, NONE, Federation, Run
from flwr_byzantine.lab.flower_app import FlowerApp, key_of_rounds, load_apart
from flwr_byzantine.lab.kept_runs import Pair, Runs
from flwr_byzantine.lab.names import attack_named, rule_named
from flwr_byzantine.lab.ray_engine import INLINE, RAY, require_engine, run_on_ray
from flwr_byzantine.lab.results import StressResult
from flwr_byzantine.lab.run_all import run_all
from flwr_byzantine.lab.scores import choose_metric
from flwr_byzantine.rules import Mean

RULES = (APP, FEDAVG, "median", "phocas", "nnm+phocas")
ATTACKS = (NONE, "sign_flip", "lie", "ipm", "min_max")
OnRun = Callable[[Run, int, int], None]


def stress(
    app: str | os.PathLike[str] | FlowerApp,
    *,
    rules: Sequence[str] = RULES,
    attacks: Sequence[str] = ATTACKS,
    clients: int = 10,
    byzantine: int = 2,
    rounds: int | None = None,
    rounds_key: str | None = None,
    config: Mapping[str, Any] | None = None,
    seed: int = 0,
    metric: str | None = None,
    lower_is_better: bool | None = None,
    out: str | os.PathLike[str] | None = None,
    engine: str = INLINE,
    jobs: int | None = None,
    verbose: bool = False,
    on_run: OnRun | None = None,
) -> StressResult:
    """Run an app under each attack with each rule, and say which rule to take.

    Parameters
    ----------
    app : str, Path or FlowerApp
        The folder of an app, which stays as it is.
    rules : Sequence[str]
        ``app`` is the app without a rule, ``fedavg`` the plain mean in its place; others are names of rules
        such as ``nnm+phocas``. The app without a rule is always run.
    attacks : Sequence[str]
        ``none`` is no attack, which is always run; others are names of attacks.
    clients, byzantine : int
        How many nodes there are, and how many of them attack. Rules are told the latter.
    rounds : int or None
        How many rounds the app trains; None leaves its own number.
    rounds_key : str or None
        The key of the app's configuration that says so; None takes the one whole number whose key has
        "round" in it.
    config : Mapping[str, Any] or None
        Other values of the app's configuration.
    seed : int
        Of all that is drawn.
    metric : str or None
        The number that says what a model is worth; see :func:`flwr_byzantine.lab.scores.choose_metric`.
    lower_is_better : bool or None
        Whether it is better where it is lower; None goes by its name.
    out : str, Path or None
        A folder for ``stress.json``, ``stress.html`` and the runs, which are not run again.
    engine : str
        ``inline``: the nodes of a run work one after the other, and several runs at once. ``ray``: runs come
        one after the other on Flower's Ray engine, and several nodes work at once.
    jobs : int or None
        How many runs at once, each in a process of its own; None takes as many as there are cores, and
        one for an app that is no folder. With Ray, how many nodes at once.
    verbose : bool
        Whether what Flower and the app log and print is shown.
    on_run : Callable or None
        Called with each run, how many are done, and how many there are.

    Returns
    -------
    StressResult
        All runs; those that failed say why.

    Raises
    ------
    ValueError
        If a parameter is out of range, before anything is run; if the app reports no number; if Ray
        is not there or fails.
    """
    require_engine(engine)
    if jobs is not None:
        require_whole("jobs", jobs, 1, "Count what goes on at once.")
    loaded = app if isinstance(app, FlowerApp) else load_apart(app)
    federation = _federation(loaded, clients, byzantine, rounds, rounds_key, config, seed)
    pairs = _pairs(rules, attacks, federation)
    if out is not None:
        _make(Path(out))
    store = None
    if out is not None and loaded.code:
        store = Runs(Path(out) / "runs", f"{engine} {loaded.code}", federation)
    found = {pair: run for pair in pairs if store is not None and (run := store.read(pair))}
    todo = [pair for pair in pairs if pair not in found]

    def note(run: Run) -> None:
        found[run.rule, run.attack] = run
        if store is not None and run.error is None:
            store.write(run)
        if on_run is not None:
            on_run(run, len(found), len(pairs))

    if engine == RAY and todo:
        run_on_ray(app, loaded, todo, federation, note, at_once=jobs, verbose=verbose)
    elif todo:
        for run in run_all(app, loaded, todo, federation, jobs, verbose):
            note(run)
    runs = [found[pair] for pair in pairs]
    reference = found[APP, NONE]
    if reference.error is not None:
        raise wrong(
            "app",
            "one that runs without an attack",
            None,
            "Run it with `flwr run` first, and mend what it says.",
            found=reference.error,
        )
    chosen = choose_metric(reference.curves, metric, lower_is_better)
    settings = {
        "clients": clients,
        "byzantine": byzantine,
        "rounds": reference.rounds,
        "seed": seed,
        "config": dict(federation.config),
        "command": _command(app, pairs, federation, engine, out, metric),
    }
    result = StressResult.of(loaded.name, runs, chosen, settings)
    if out is not None:
        result.save(out)
    return result


def _make(out: Path) -> None:
    """Make the folder of the results, before anything is run."""
    try:
        (out / "runs").mkdir(parents=True, exist_ok=True)
        writable = os.access(out, os.W_OK) and os.access(out / "runs", os.W_OK)
    except OSError:
        writable = False
    require(writable, "out", "a folder that can be written to", str(out), "Name another one.")


def _command(
    app: Any,
    pairs: Sequence[Pair],
    federation: Federation,
    engine: str,
    out: str | os.PathLike[str] | None,
    metric: str | None,
) -> str:
    """What runs the same again."""
    rules, attacks = (",".join(dict.fromkeys(names)) for names in zip(*pairs, strict=True))
    folder = app.name if isinstance(app, FlowerApp) else os.fspath(app)
    words = ["flwr-byzantine", "stress", folder, "--rules", rules, "--attacks", attacks]
    words += ["--clients", str(federation.clients), "--byzantine", str(federation.byzantine)]
    words += ["--seed", str(federation.seed)] if federation.seed else []
    for key, value in federation.config.items():
        words += ["-c", f"{key}={json.dumps(value)}"]
    words += [] if engine == INLINE else ["--engine", engine]
    words += [] if metric is None else ["--metric", metric]
    words += [] if out is None else ["--out", os.fspath(out)]
    return shlex.join(words)


def _federation(
    app: FlowerApp,
    clients: int,
    byzantine: int,
    rounds: int | None,
    rounds_key: str | None,
    config: Mapping[str, Any] | None,
    seed: int,
) -> Federation:
    require_whole("clients", clients, 1, "Count the nodes.")
    require_whole("byzantine", byzantine, 0, "Count the attackers.")
    advice = "Leave an honest node."
    require(byzantine < clients, "byzantine", f"below `clients = {clients}`", byzantine, advice)
    require_whole("seed", seed, 0, "Choose any other seed.")
    changed = dict(config or {})
    for key in changed:
        expected = f"made of {', '.join(app.config) or 'nothing: the app has no configuration'}"
        require(key in app.config, "config", expected, key, "These are the app's keys.")
    alone = rounds_key is not None and rounds is None
    require(not alone, "rounds_key", "given with `rounds`", rounds_key, "Say how many rounds.")
    if rounds is not None:
        require_whole("rounds", rounds, 1, "Count the rounds.")
        changed[key_of_rounds(app.config, rounds_key)] = rounds
    return Federation(clients, byzantine, seed, changed)


def _pairs(rules: Sequence[str], attacks: Sequence[str], federation: Federation) -> list[Pair]:
    """Rule and attack of each run; ValueError for those that can never work."""
    for name, given in (("rules", rules), ("attacks", attacks)):
        several = not isinstance(given, str)
        require(several, name, "several names", given, "Write them as a list.")
    for rule in rules:
        if rule in (APP, FEDAVG):
            continue
        made = rule_named(rule, federation.byzantine)
        least = made.min_updates
        if federation.clients < least:
            raise wrong(
                "clients",
                f"at least {least} for `{rule}` with `byzantine = {federation.byzantine}`",
                federation.clients,
                "Take more clients, fewer attackers, or another rule.",
            )
    f = federation.byzantine
    for attack in attacks:
        if attack != NONE:
            advice = "Without an attacker, name no attack but `none`."
            require(f > 0, "byzantine", f"at least 1 for `{attack}`", f, advice)
            attack_named(attack, federation.clients, f, Mean())
    return [
        (rule, attack)
        for rule in dict.fromkeys([APP, *rules])
        for attack in dict.fromkeys([NONE, *attacks])
    ]


def assert_keeps(
    app: str | os.PathLike[str] | FlowerApp,
    at_least: float,
    *,
    rule: str,
    attack: str,
    **settings: Any,
) -> None:
    """Fail unless an app keeps a value under an attack: a test for one's own continuous integration.

    Parameters
    ----------
    app : str, Path or FlowerApp
        As for :func:`stress`.
    at_least : float
        What the metric should be after the last round; of a loss, at most.
    rule, attack : str
        Their names.
    **settings
        The other parameters of :func:`stress`.

    Raises
    ------
    AssertionError
        Saying what the app came to.
    """
    result = stress(app, rules=[rule], attacks=[attack], **settings)
    cell, low = result.cell(rule, attack), result.data["lower_is_better"]
    reached = cell["final"]
    kept = reached is not None and (reached <= at_least if low else reached >= at_least)
    if not kept:
        found = cell["error"] or reached
        raise AssertionError(
            f"{result.data['app']} keeps {found} of {at_least} in {result.data['metric']} under {attack}, "
            f"with {rule} and {result.data['byzantine']} of {result.data['clients']} Byzantine nodes."
        )
