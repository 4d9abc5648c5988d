"""Runs an app under several attacks with several rules: one run for each pair, several at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from flwr_byzantine.checks import require, require_whole, wrong
from flwr_byzantine.lab.app_config import check_config
from flwr_byzantine.lab.cases import Case, KeptCases, make_folder, run_cases, writing_to
from flwr_byzantine.lab.cell import APP, FEDAVG, NONE, Federation, Run
from flwr_byzantine.lab.command import command_of
from flwr_byzantine.lab.engine import INLINE, OTHERWISE, RAY, require_engine
from flwr_byzantine.lab.flower_app import FlowerApp, key_of_rounds, load_apart
from flwr_byzantine.lab.names import MALICIOUS, attack_named, rule_named
from flwr_byzantine.lab.on_data.changes import BACKDOOR
from flwr_byzantine.lab.on_data.malicious import check_malicious
from flwr_byzantine.lab.progress import Steps
from flwr_byzantine.lab.results import StressResult
from flwr_byzantine.lab.scores import choose_metric
from flwr_byzantine.lab.simulation import quiet
from flwr_byzantine.rules import Mean

RULES = (APP, FEDAVG, "median", "phocas", "nnm+phocas")
ATTACKS = (NONE, "sign_flip", "lie", "ipm", "min_max")
OnRun = Callable[[Run, int, int], None]
OnStep = Callable[[int, int, str], None]


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
    seeds: int = 1,
    malicious: str | None = None,
    metric: str | None = None,
    lower_is_better: bool | None = None,
    out: str | os.PathLike[str] | None = None,
    engine: str = INLINE,
    jobs: int | None = None,
    verbose: bool = False,
    on_run: OnRun | None = None,
    on_step: OnStep | None = None,
) -> StressResult:
    """Run an app under each attack with each rule, and say which rule to take.

    Parameters
    ----------
    app : str, Path or FlowerApp
        The folder of an app, which stays as it is.
    rules : Sequence[str]
        ``app`` is the app without a rule, and ``fedavg`` is the plain mean in the place of a rule.
        All others are names of rules, such as ``nnm+phocas``. ``app`` is always run.
    attacks : Sequence[str]
        ``none`` is no attack, and is always run. All others are names of attacks.
    clients, byzantine : int
        How many nodes there are, and how many of them attack. Rules are told the second number as
        f.
    rounds : int or None
        How many rounds the app trains; None leaves its own number.
    rounds_key : str or None
        The key of the app's configuration that sets the rounds. None takes the one whole number
        whose key contains "round".
    config : Mapping[str, Any] or None
        Other values of the app's configuration.
    seed : int
        The seed of everything that is drawn.
    seeds : int
        How many runs there are of each rule and attack, with consecutive seeds from ``seed`` on.
        Each run is compared with the app's own run of the same seed.
    malicious : str or None
        A ClientApp that the attackers run in place of the app's own when they train, ``module:name`` in the
        app's folder. This is the attack ``malicious``. You need not name it in ``attacks``.
    metric : str or None
        The metric by which results are compared. See :func:`flwr_byzantine.lab.scores.choose_metric`.
    lower_is_better : bool or None
        Whether a smaller number is better. None decides by the metric's name.
    out : str, Path or None
        A folder for ``stress.json``, ``stress.html`` and the runs. Finished runs there are not run again.
    engine : str
        With ``inline``, several runs work at once, and in each of them one node after the other.
        With ``ray``, one run after the other works on Flower's Ray engine, and in it several nodes
        at once.
    jobs : int or None
        How many runs work at once, each in a process of its own, or how many nodes with Ray. None
        takes the number of cores, or one if the app is not a folder.
    verbose : bool
        Whether to show what Flower and the app log and print.
    on_run : Callable or None
        It is called with each finished run, the number of finished runs, and the number of all runs.
    on_step : Callable or None
        It is called after each round with the number of finished rounds, the number of all rounds, and
        the run in words. If the number of rounds is not known, a run counts as one round.

    Returns
    -------
    StressResult
        All runs. A run that failed says why.

    Raises
    ------
    ValueError
        If a parameter is out of range, before anything runs. If the app itself fails or does not report
        the metric, at once. If Ray is missing or fails.
    """
    require_engine(engine)
    if jobs is not None:
        require_whole("jobs", jobs, 1, "Say how many runs or nodes work at once.")
        alone = isinstance(app, FlowerApp) and engine == INLINE
        advice = "Pass the folder of the app, because other processes import it from there."
        require(not alone or jobs == 1, "jobs", "1 for an app that was loaded", jobs, advice)
    require_whole("seeds", seeds, 1, "Say how many runs each rule and attack has.")
    with quiet(verbose):
        loaded = app if isinstance(app, FlowerApp) else load_apart(app)
    federation = _federation(loaded, clients, byzantine, rounds, rounds_key, config, seed)
    if malicious is not None:
        check_malicious(loaded, malicious)
        federation, attacks = replace(federation, malicious=malicious), [*attacks, MALICIOUS]
    pairs = _pairs(rules, attacks, federation)
    federation = replace(federation, backdoor=any(attack == BACKDOOR for _, attack in pairs))
    cases = [Case(*pair, seed + extra) for extra in range(seeds) for pair in pairs]
    store = None
    if out is not None:
        make_folder(Path(out))
        if loaded.code:
            store = KeptCases(Path(out), engine, loaded.code, federation)
    found = {case: run for case in cases if store is not None and (run := store.read(case))}
    todo = [case for case in cases if case not in found]
    steps = Steps(len(todo), _rounds_of(loaded, federation, rounds_key))

    def check(case: Case) -> None:
        """Raise as soon as the app itself fails or lacks the metric, because other runs are useless then."""
        if (case.rule, case.attack) == (APP, NONE):
            _require_an_end(found[case])
            choose_metric(found[case].curves, metric, lower_is_better)

    for case in found:
        check(case)

    def note(case: Case, run: Run | None) -> None:
        step = steps.round(case) if run is None else steps.end(case)
        if on_step is not None:
            on_step(step, steps.total, _in_words(case, seeds))
        if run is None:
            return
        found[case] = run
        if store is not None and run.error is None:
            store.write(case, run)
        if on_run is not None:
            on_run(run, len(found), len(cases))
        check(case)

    if todo:
        if on_step is not None:
            on_step(0, steps.total, "starting")
        try:
            run_cases(
                app, loaded, todo, federation, note, engine=engine, jobs=jobs, verbose=verbose
            )
        except (RuntimeError, OSError) as error:
            if engine != RAY:
                raise
            reason = " ".join(str(error.__cause__ or error).split())
            told = f"`engine = {RAY!r}`, which failed: {reason}"
            raise wrong(
                "engine", "an engine that works on this machine", RAY, OTHERWISE + ".", found=told
            ) from error
    reference = found[Case(APP, NONE, seed)]
    chosen = choose_metric(reference.curves, metric, lower_is_better)
    settings = {
        "clients": clients,
        "byzantine": byzantine,
        "rounds": reference.rounds,
        "seed": seed,
        "seeds": [seed + extra for extra in range(seeds)],
        "config": dict(federation.config),
        "command": command_of(
            app,
            pairs,
            config or {},
            clients=clients,
            byzantine=byzantine,
            rounds=rounds,
            rounds_key=rounds_key,
            seed=seed or None,
            seeds=seeds if seeds > 1 else None,
            malicious=malicious,
            metric=metric,
            lower_is_better=lower_is_better,
            engine=engine if engine != INLINE else None,
            jobs=jobs,
            out=out,
        ),
    }
    by_seed = [[found[Case(*pair, seed + extra)] for pair in pairs] for extra in range(seeds)]
    result = StressResult.of(loaded.name, by_seed, chosen, settings)
    if out is not None:
        with writing_to(Path(out)):
            result.save(out)
    return result


def _require_an_end(reference: Run) -> None:
    """Raise a ValueError if the run of the app itself failed."""
    if reference.error is not None:
        advice = "Run it with `flwr run` first, and mend the error that you see."
        if "but there are only" in reference.error:
            advice = "Pass more `clients`, or let the app's server wait for fewer nodes."
        expected = "an app that runs without an attack"
        raise wrong("app", expected, None, advice, found=reference.error)


def _in_words(case: Case, seeds: int) -> str:
    """The name of a run in the progress bar."""
    return f"{case.rule}, {case.attack}" + (f", seed {case.seed}" if seeds > 1 else "")


def _rounds_of(app: FlowerApp, federation: Federation, key: str | None) -> int:
    """How many rounds a run has according to its configuration; 1 if that does not say."""
    config = {**app.config, **federation.config}
    try:
        return max(1, int(config[key_of_rounds(config, key)]))
    except ValueError:
        return 1


def _federation(
    app: FlowerApp,
    clients: int,
    byzantine: int,
    rounds: int | None,
    rounds_key: str | None,
    config: Mapping[str, Any] | None,
    seed: int,
) -> Federation:
    require_whole("clients", clients, 1, "Say how many nodes there are.")
    require_whole("byzantine", byzantine, 0, "Say how many nodes attack.")
    advice = "Leave at least one honest node."
    require(byzantine < clients, "byzantine", f"below `clients = {clients}`", byzantine, advice)
    require_whole("seed", seed, 0, "Choose any other seed.")
    changed = dict(config or {})
    check_config(app.config, changed)
    alone = rounds_key is not None and rounds is None
    require(not alone, "rounds_key", "given with `rounds`", rounds_key, "Say how many rounds.")
    if rounds is not None:
        require_whole("rounds", rounds, 1, "Say how many rounds the app trains.")
        key = key_of_rounds(app.config, rounds_key)
        expected = f"left out if `config` has {key!r}"
        require(
            key not in changed, "rounds", expected, rounds, "Set the rounds in one of them only."
        )
        changed[key] = rounds
    return Federation(clients, byzantine, seed, changed)


def _pairs(
    rules: Sequence[str], attacks: Sequence[str], federation: Federation
) -> list[tuple[str, str]]:
    """The rule and the attack of each run. Raise a ValueError for a pair that can never work."""
    for name, given in (("rules", rules), ("attacks", attacks)):
        several = not isinstance(given, str)
        require(several, name, "a list of names", given, "Put the names into a list.")
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
            advice = "Pass at least one attacker, or name no attack but `none`."
            require(f > 0, "byzantine", f"at least 1 for `{attack}`", f, advice)
            if attack != MALICIOUS or not federation.malicious:
                attack_named(attack, federation.clients, f, Mean())
    return [
        (rule, attack)
        for rule in dict.fromkeys([APP, *rules])
        for attack in dict.fromkeys([NONE, *attacks])
    ]
