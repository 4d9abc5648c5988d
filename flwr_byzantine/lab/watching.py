"""How good an app's model is after each round, according to the app's own evaluation or its nodes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from inspect import signature
from itertools import pairwise
from statistics import median
from typing import Any

from flwr.app import Message
from flwr.server import History, Server
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Result, Strategy

from flwr_byzantine.clients.wrapper import MissingRound, round_of
from flwr_byzantine.strategies.passing_grid import PassingGrid, kind_of_message

Metrics = dict[str, float]
Curves = dict[int, Metrics]  # round -> metrics

LEGACY = (
    "fitres",
    "evaluateres",
)  # prefixes of record names in replies of the `aggregate_fit` API
NUM_EXAMPLES = ("num-examples", "num_examples")


@dataclass
class Report:
    """What one node reported in one call.

    Parameters
    ----------
    kind : str
        ``train`` or ``evaluate``.
    call : int
        The round that the message names; if it names none, the number of such calls to the node, from 1.
    node : int
        The node's id.
    count : float
        The number of examples; 1 if the node reported none.
    metrics : dict[str, float]
        The numbers among its metrics.
    """

    kind: str
    call: int
    node: int
    count: float
    metrics: Metrics


class WatchingGrid(PassingGrid):
    """Notes what nodes report before any other code changes it.

    Parameters
    ----------
    grid : flwr.serverapp.Grid
        The grid that reaches the nodes.
    on_round : Callable
        It is called when a round of training begins, except the first.

    Attributes
    ----------
    reports : list[Report]
        All reports so far.
    began : dict[int, float]
        When each round of training began, in seconds of a clock.
    errors : list[str]
        Why nodes did not answer.
    """

    def __init__(self, grid: Grid, on_round: Callable[[], None] = lambda: None) -> None:
        super().__init__(grid)
        self.on_round = on_round
        self.reports: list[Report] = []
        self.began: dict[int, float] = {}
        self.errors: list[str] = []
        self._calls: dict[tuple[str, int], int] = {}
        self._evaluated: dict[int, tuple[int, Message]] = {}

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Send messages and return the replies as they are."""
        sent = list(messages)
        for message in sent:
            kind, node = kind_of_message(message), message.metadata.dst_node_id
            before, told = self._calls.get((kind, node), 0), _round_told(message)
            self._calls[kind, node] = call = told if told > before else before + 1
            if kind == "evaluate":
                self._evaluated[node] = call, message
            if kind == "train" and call not in self.began:
                if self.began:
                    self.on_round()
                self.began[call] = time.perf_counter()
        received = list(self.grid.send_and_receive(sent, timeout=timeout))
        for message in received:
            if message.has_content():
                self._note(message)
            elif message.has_error():
                self.errors.append(message.error.reason or "no reason given")
        return received

    def evaluated_last(self) -> dict[int, Message]:
        """Node -> the message that asked it to evaluate last."""
        last = max((call for call, _ in self._evaluated.values()), default=0)
        return {n: message for n, (call, message) in self._evaluated.items() if call == last}

    def seconds_per_round(self, ended: float) -> float | None:
        """The median time of a round. The first round counts only if there is no other."""
        times = [*self.began.values(), ended]
        taken = [later - earlier for earlier, later in pairwise(times)]
        return median(taken[1:] or taken) if taken else None

    def _note(self, message: Message) -> None:
        kind, node = kind_of_message(message), message.metadata.src_node_id
        call = self._calls.get((kind, node), 1)
        metrics = _numbers(message)
        counts = [metrics.pop(key) for key in NUM_EXAMPLES if key in metrics]
        count = counts[0] if counts and 0 < counts[0] < math.inf else 1.0
        self.reports.append(Report(kind, call, node, count, metrics))


def _round_told(message: Message) -> int:
    """The round that a message names; 0 if it names none."""
    configs = message.content.config_records.values() if message.has_content() else ()
    told = [number for c in configs if not isinstance(number := round_of(c), MissingRound)]
    group = message.metadata.group_id
    return told[0] if told else int(group) if group.isdecimal() else 0


def _numbers(message: Message) -> Metrics:
    """The numbers among a reply's metrics. For the `aggregate_fit` API, the prefixes of names are removed."""
    found: Metrics = {}
    content = message.content
    records: list[tuple[str, Mapping[str, Any]]] = [*content.metric_records.items()]
    if any(name.startswith(LEGACY) for name, _ in records):
        records += [(n, r) for n, r in content.config_records.items() if n.endswith(".metrics")]
    for _, record in records:
        for key, value in record.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                found[key] = float(value)
    return found


def weighted_means(reports: Sequence[Report], kind: str, leave_out: Collection[int]) -> Curves:
    """The metrics of each call: means over the nodes, weighted by their numbers of examples.

    Parameters
    ----------
    reports : Sequence[Report]
        The reports of one run.
    kind : str
        ``train`` or ``evaluate``.
    leave_out : Collection[int]
        Nodes that are left out.

    Notes
    -----
    A value that is not finite counts only if no node reports a finite one. One node may report NaN because it
    has no data. If all nodes do, the model is broken.
    """
    sums: dict[int, dict[str, tuple[float, float]]] = {}
    for report in reports:
        if report.kind != kind or report.node in leave_out:
            continue
        of_call = sums.setdefault(report.call, {})
        for key, value in report.metrics.items():
            total, weight = of_call.setdefault(key, (0.0, 0.0))
            if not math.isfinite(value):
                continue
            of_call[key] = total + report.count * value, weight + report.count
    return {
        call: {
            key: total / weight if weight else math.nan for key, (total, weight) in of_call.items()
        }
        for call, of_call in sums.items()
    }


@dataclass
class Returned:
    """What the loops of strategies and servers returned, in their order.

    Parameters
    ----------
    results, histories : list
        The returned values, with Flower's ``Result`` and ``History`` apart.
    evaluate : Callable or None
        A function that lets the server evaluate its last model again.
    """

    results: list[Result] = field(default_factory=list)
    histories: list[History] = field(default_factory=list)
    evaluate: Callable[[], Mapping[str, Any]] | None = None

    def evaluated(self) -> Curves:
        """The metrics of the server's own evaluation by round; empty if it does not evaluate."""
        if self.results:
            found = self.results[-1].evaluate_metrics_serverapp
            return {r: _plain(metrics) for r, metrics in found.items() if _plain(metrics)}
        if not self.histories:
            return {}
        curves: Curves = {}
        history = self.histories[-1]
        for server_round, loss in history.losses_centralized:
            curves.setdefault(server_round, {}).update(_plain({"loss": loss}))
        for key, values in history.metrics_centralized.items():
            for server_round, value in values:
                curves.setdefault(server_round, {}).update(_plain({key: value}))
        return {r: metrics for r, metrics in curves.items() if metrics}


def _plain(metrics: Mapping[str, Any]) -> Metrics:
    return {
        key: float(value)
        for key, value in metrics.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


@contextmanager
def watching() -> Iterator[Returned]:
    """Note what the loops of all strategies and servers return, both Flower's and an app's own."""
    seen = Returned()

    def note(found: Any, asked: Mapping[str, Any]) -> None:
        for part in found if isinstance(found, tuple) else (found,):
            if isinstance(part, Result):
                seen.results.append(part)
            elif isinstance(part, History):
                seen.histories.append(part)
            else:
                continue
            seen.evaluate = _once_more(part, asked) or seen.evaluate

    with ExitStack() as stack:
        for base, name in ((Strategy, "start"), (Server, "fit")):
            for kind in with_own(base, name):
                _replace(stack, kind, name, note)
        yield seen


def with_own(base: type, name: str) -> Iterator[type]:
    """A class and its subclasses, as far as they define a method of that name themselves."""
    if name in vars(base):
        yield base
    derived: type
    for derived in base.__subclasses__():
        yield from with_own(derived, name)


def _replace(stack: ExitStack, kind: type, name: str, note: Callable[[Any, Any], None]) -> None:
    method = vars(kind)[name]

    def noted(*arguments: Any, **keywords: Any) -> Any:
        found = method(*arguments, **keywords)
        bound = signature(method).bind(*arguments, **keywords)
        bound.apply_defaults()
        note(found, bound.arguments)
        return found

    noted.__wrapped__ = method  # type: ignore[attr-defined]
    setattr(kind, name, noted)
    stack.callback(setattr, kind, name, method)


def _once_more(
    ended: Result | History, asked: Mapping[str, Any]
) -> Callable[[], Mapping[str, Any]] | None:
    """A function that evaluates a loop's last model as the server did; None if the server does not."""
    rounds = asked.get("num_rounds") or 0
    if isinstance(ended, Result):
        evaluate_fn = asked.get("evaluate_fn")
        if evaluate_fn is None or not ended.arrays:
            return None
        return lambda: evaluate_fn(rounds, ended.arrays) or {}
    server: Server = next(iter(asked.values()))
    if not ended.losses_centralized:
        return None

    def evaluate() -> Mapping[str, Any]:
        loss, metrics = server.strategy.evaluate(rounds, server.parameters) or (None, {})
        return {"loss": loss, **metrics}

    return evaluate
