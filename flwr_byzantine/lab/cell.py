"""One run of an app, with or without a rule, and with or without an attack."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from flwr.server import ServerAppComponents
from flwr.server.strategy import FedAvg
from flwr.serverapp import Grid, ServerApp

from flwr_byzantine.audit import AuditRecord
from flwr_byzantine.lab.attack_grid import AttackGrid
from flwr_byzantine.lab.attack_strategy import AttackStrategy
from flwr_byzantine.lab.flower_app import FlowerApp
from flwr_byzantine.lab.in_process import InProcessGrid, as_running_task, server_context
from flwr_byzantine.lab.names import MALICIOUS, ON_DATA, attack_named, rule_named
from flwr_byzantine.lab.on_data.changes import BACKDOOR
from flwr_byzantine.lab.on_data.grid import OnDataGrid
from flwr_byzantine.lab.on_data.node import OnDataApp
from flwr_byzantine.lab.on_data.success import Success, success_of
from flwr_byzantine.lab.placement import drawn
from flwr_byzantine.lab.processes import in_one_line
from flwr_byzantine.lab.scores import Curves
from flwr_byzantine.lab.scratch import scratch
from flwr_byzantine.lab.waiting import PatientGrid, without_waiting
from flwr_byzantine.lab.watching import WatchingGrid, watching, weighted_means
from flwr_byzantine.rules import Mean
from flwr_byzantine.strategies.fit_wrapped import ByzantineRobust
from flwr_byzantine.strategies.robust_grid import RobustGrid

APP, FEDAVG, NONE = "app", "fedavg", "none"


@dataclass(frozen=True)
class Federation:
    """The nodes of every run, and what they run with.

    Parameters
    ----------
    clients : int
        The number of nodes.
    byzantine : int
        How many of the nodes attack. Rules get this number as f.
    seed : int
        The seed of all random choices: which nodes attack, and what attackers draw. The app's own generators
        start from it too.
    config : Mapping[str, Any]
        The app's run configuration.
    backdoor : bool
        Whether runs without an attack also measure how often a backdoor works.
    malicious : str
        The ClientApp that attackers run under the attack ``malicious``, as ``module:name``.
    """

    clients: int = 10
    byzantine: int = 2
    seed: int = 0
    config: Mapping[str, Any] = field(default_factory=dict)
    backdoor: bool = False
    malicious: str = ""


@dataclass(frozen=True)
class Run:
    """The result of a run.

    Parameters
    ----------
    rule, attack : str
        Their names.
    curves : dict[str, Curves]
        ``server``, ``evaluation`` and ``training`` -> round -> metrics.
    seconds : float or None
        How long a round took.
    rounds : int
        The number of rounds of training.
    byzantine : list[list[int]]
        Ids of the attackers in each round.
    verdicts : list[tuple[int, str, str]]
        Round, node and the rule's verdict, for each reply.
    nodes : dict[int, dict[str, float]]
        What each node reported after its last evaluation. Nodes that attack in this run, or in other runs
        with the same seed, are left out.
    error : str or None
        Why the run ended early, in one line.
    seed : int
        The seed of the run.
    success : float or None
        How often a backdoor works: the share of samples with the trigger that the model takes for the target
        class.
    note : str or None
        Why ``success`` is not known.
    """

    rule: str
    attack: str
    curves: Mapping[str, Curves]
    seconds: float | None
    rounds: int
    byzantine: list[list[int]]
    verdicts: list[tuple[int, str, str]]
    nodes: dict[int, dict[str, float]]
    error: str | None = None
    seed: int = 0
    success: float | None = None
    note: str | None = None


def run_cell(
    app: FlowerApp,
    rule: str,
    attack: str,
    federation: Federation,
    nodes: Grid | None = None,
    on_round: Callable[[], None] = lambda: None,
) -> Run:
    """Run an app once. If it raises an error, the result holds it.

    Parameters
    ----------
    app : FlowerApp
        The app, unchanged.
    rule : str
        ``app`` runs the app unprotected, ``fedavg`` replaces its aggregation by the plain mean, and any other
        name is a rule.
    attack : str
        ``none``, or the name of an attack.
    federation : Federation
        The nodes, and what they run with.
    nodes : flwr.serverapp.Grid or None
        The grid that reaches the nodes; None runs them in this process.
    on_round : Callable
        It is called when a round of training begins, except the first.
    """
    with scratch(app.folder, getattr(nodes, "folder", None)):
        own = app.anew()
        with own.in_use():
            return _run_here(own, rule, attack, federation, nodes, on_round)


def _run_here(
    app: FlowerApp,
    rule: str,
    attack: str,
    federation: Federation,
    nodes: Grid | None,
    on_round: Callable[[], None],
) -> Run:
    """Run an app in the current folder."""
    seed_all(federation.seed)
    config, shared = {**app.config, **federation.config}, nodes is not None
    if nodes is None:
        as_running_task()
        nodes = InProcessGrid(OnDataApp(app.client), federation.clients, config)
    attackers = drawn(federation.clients, federation.byzantine, federation.seed)
    on_data = OnDataGrid(
        nodes, attack, attackers, federation.seed, app.folder or "", federation.malicious
    )
    patient = PatientGrid(on_data, federation.clients)
    watched = WatchingGrid(patient, on_round)
    fronts = Fronts(rule, attack, federation)
    error = None
    with watching() as returned, without_waiting(federation.clients):
        try:
            fronts.serve(app.server, watched, config)
        except (Exception, SystemExit) as raised:
            if isinstance(raised, InterruptedError) and shared:  # Ctrl-C, and no error of the app
                raise
            error = in_one_line(raised)
    patient.ended = True
    seconds = watched.seconds_per_round(time.perf_counter())
    byzantine = fronts.byzantine or [attackers for _ in watched.began if on_data.attackers]
    ever = {node for of_round in byzantine for node in of_round} or attackers
    reports = watched.reports
    if error is None and watched.errors and not any(r.kind == "train" for r in reports):
        error = f"no node trained: {' '.join(watched.errors[0].split())}"
    if error is None and not watched.began:
        error = f"no node trained: the server asked none of the {federation.clients} nodes to train"
    error = on_data.error_after(error)
    curves = {
        "server": returned.evaluated(),
        "evaluation": weighted_means(reports, "evaluate", ever),
        "training": weighted_means(reports, "train", ever),
    }
    success = Success()
    if error is None and (attack == BACKDOOR or (federation.backdoor and attack == NONE)):
        success = success_of(curves, returned, watched, ever)
    return Run(
        rule,
        attack,
        curves,
        seconds,
        max((report.call for report in reports if report.kind == "train"), default=0),
        [sorted(of_round) for of_round in byzantine],
        [(record.round, record.client, record.verdict) for record in fronts.audit],
        {r.node: r.metrics for r in reports if r.kind == "evaluate" and r.node not in ever},
        error,
        federation.seed,
        success.rate,
        success.note,
    )


class Fronts:
    """The layers between an app and its nodes: an attack next to the nodes, and a rule next to the app."""

    def __init__(self, rule: str, attack: str, federation: Federation) -> None:
        f = federation.byzantine
        self.rule = None if rule == APP else rule_named("mean" if rule == FEDAVG else rule, f)
        against, attacked = self.rule or Mean(), f > 0 and attack not in (NONE, MALICIOUS, *ON_DATA)
        self.attack = attack_named(attack, federation.clients, f, against) if attacked else None
        self.federation = federation
        self.robust: Any = None
        self.attacked: Any = None

    def serve(self, server: ServerApp, grid: Grid, config: Mapping[str, Any]) -> None:
        """Run the server's half."""
        if is_legacy(server):
            server = _with_strategy(server, self._around)
        else:
            grid = self._behind(grid)
        server(grid, server_context(config, grid.run.run_id))

    def _behind(self, grid: Grid) -> Grid:
        """The grid that the app gets."""
        of = self.federation
        if self.attack is not None:
            grid = self.attacked = AttackGrid(grid, self.attack, of.byzantine, seed=of.seed)
        if self.rule is not None:
            grid = self.robust = RobustGrid(grid, self.rule)
        return grid

    def _around(self, strategy: Any) -> Any:
        """The strategy that an app of the ``aggregate_fit`` API gets."""
        of = self.federation
        if self.rule is not None:
            strategy = self.robust = ByzantineRobust(strategy, self.rule)
        if self.attack is not None:
            strategy = self.attacked = AttackStrategy(
                strategy, self.attack, of.byzantine, seed=of.seed
            )
        return strategy

    @property
    def byzantine(self) -> list[set[int]]:
        """Ids of the attackers in each round."""
        return (
            []
            if self.attacked is None
            else [{*map(int, r.byzantine)} for r in self.attacked.rounds]
        )

    @property
    def audit(self) -> tuple[AuditRecord, ...]:
        """The verdict of the rule on each reply."""
        return () if self.robust is None else self.robust.audit


def is_legacy(server: ServerApp) -> bool:
    """Whether an app has a strategy of the ``aggregate_fit`` API instead of a main function."""
    return vars(server)["_main"] is None


def _with_strategy(server: ServerApp, around: Callable[[Any], Any]) -> ServerApp:
    """The same app with another strategy around its own."""
    own = vars(server)

    def server_fn(context: Any) -> ServerAppComponents:
        made = own["_server_fn"]
        components = (
            made(context)
            if made is not None
            else ServerAppComponents(
                own["_server"], own["_config"], own["_strategy"], own["_client_manager"]
            )
        )
        if components.server is not None:
            components.server.set_strategy(around(components.server.strategy))
        else:
            components.strategy = around(components.strategy or FedAvg())
        return components

    around_own = ServerApp(server_fn=server_fn)
    vars(around_own)["_lifespan"] = own["_lifespan"]
    return around_own


def seed_all(seed: int) -> None:
    """Seed the generators that apps use. Those of torch are seeded if torch is loaded."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    if (torch := sys.modules.get("torch")) is not None:
        torch.manual_seed(seed)
