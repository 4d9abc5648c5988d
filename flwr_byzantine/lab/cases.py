"""The runs of a stress test: which runs there are, how they are made, and how they are kept."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from flwr.serverapp import Grid

from flwr_byzantine.checks import require, wrong
from flwr_byzantine.lab.cell import NONE, Federation, Run, run_cell
from flwr_byzantine.lab.engine import INLINE, RAY
from flwr_byzantine.lab.flower_app import FlowerApp, load_apart
from flwr_byzantine.lab.kept import Kept, Record
from flwr_byzantine.lab.processes import FAILED, ROUND, News, Tell, deal, run_here, run_in_processes
from flwr_byzantine.lab.ray_engine import run_on_ray
from flwr_byzantine.lab.simulation import cores, quiet

FOLDER = "runs"  # where results are kept


class Case(NamedTuple):
    """A rule, an attack and a seed: one run of an app."""

    rule: str
    attack: str
    seed: int


OnCase = Callable[[Case, Run | None], None]  # gets None after each round, and the run at its end


def run_cases(
    app: str | os.PathLike[str] | FlowerApp,
    loaded: FlowerApp,
    cases: Sequence[Case],
    federation: Federation,
    on_case: OnCase,
    *,
    engine: str = INLINE,
    jobs: int | None = None,
    verbose: bool = False,
) -> None:
    """Run an app once for each case.

    Parameters
    ----------
    app : str, Path or FlowerApp
        The folder from which other processes import the app. An app without a folder runs in this process.
    loaded : FlowerApp
        The app.
    cases : Sequence[Case]
        What to run.
    federation : Federation
        The nodes and the attackers.
    on_case : Callable
        It is called after each round with the case and None, and at the end with the case and the run.
    engine : str
        ``inline`` or ``ray``.
    jobs : int or None
        How many runs work at once, or, with Ray, how many nodes. None means as many as there are cores.
    verbose : bool
        Whether to show what Flower and the app log and print.

    Raises
    ------
    Exception
        What ``on_case`` raises. If the engine fails, a RuntimeError or OSError.
    """

    def note(news: News) -> None:
        case: Case = news.run
        if news.kind == ROUND:
            on_case(case, None)
        elif news.kind == FAILED:  # its process died, or did not find the app
            on_case(
                case, Run(case.rule, case.attack, {}, None, 0, [], [], {}, news.what, case.seed)
            )
        else:
            on_case(case, news.what)

    folder = None if isinstance(app, FlowerApp) else os.path.abspath(os.fspath(app))
    work = partial(_run_all, folder, federation, engine, jobs, verbose)
    at_once = min(jobs or cores(), len(cases))
    if folder is None or engine != INLINE or at_once <= 1:
        run_here(cases, partial(work, loaded), note)
    else:
        run_in_processes(deal(cases, at_once), partial(work, None), at_once, note)


def _run_all(
    folder: str | None,
    federation: Federation,
    engine: str,
    jobs: int | None,
    verbose: bool,
    app: FlowerApp | None,
    cases: Sequence[Case],
    tell: Tell,
) -> None:
    """Run all cases of a process, one after the other."""
    with quiet(verbose):
        loaded = app or load_apart(folder or "")
    config = {**loaded.config, **federation.config}

    def serve(number: int, grid: Grid | None) -> None:
        case, drawn = cases[number], replace(federation, seed=cases[number].seed)
        with quiet(verbose):
            on_round = partial(tell.round, number)
            run = run_cell(loaded, case.rule, case.attack, drawn, grid, on_round)
        tell.finished(number, run)

    if engine == RAY:
        source, configs = loaded.folder or loaded.client, [config] * len(cases)
        run_on_ray(serve, source, configs, federation.clients, at_once=jobs, verbose=verbose)
        return
    for number in range(len(cases)):
        serve(number, None)  # each run loads the app of its nodes anew


WRITABLE = "a folder in which you may write"


def make_folder(out: Path) -> None:
    """Make the folder of the results before anything runs. Raise a ValueError if it is not writable."""
    with writing_to(out):
        (out / FOLDER).mkdir(parents=True, exist_ok=True)
    writable = os.access(out, os.W_OK) and os.access(out / FOLDER, os.W_OK)
    require(writable, "out", WRITABLE, str(out), "Name another one.")


@contextmanager
def writing_to(out: Path) -> Iterator[None]:
    """Raise a ValueError in place of an OSError such as that of a full disk."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())
        advice = (
            "Make room there, or name another folder. Finished runs are kept and not made again."
        )
        found = f"`out = {str(out)!r}`: {reason}"
        raise wrong("out", WRITABLE, str(out), advice, found=found) from error


class KeptCases:
    """Finished runs in a folder. Each is found by the app, the engine, the federation and its case.

    Parameters
    ----------
    folder : Path
        The folder of the results.
    engine : str
        The engine of the runs.
    code : str
        A digest of the app.
    federation : Federation
        The nodes and the attackers.
    """

    def __init__(self, folder: Path, engine: str, code: str, federation: Federation) -> None:
        self.kept = Kept(folder)
        versions = [version(package) for package in ("flwr-byzantine", "flwr")]
        self.backdoor = federation.backdoor
        told = asdict(replace(federation, seed=0, backdoor=False))
        self.of = json.dumps([engine, code, versions, told], sort_keys=True, default=str)

    def _name(self, case: Case) -> str:
        of = [self.of, *case, *(["backdoor"] if self.backdoor and case.attack == NONE else [])]
        key = sha256(json.dumps(of).encode()).hexdigest()[:16]
        return f"{FOLDER}/{key}.json"

    def read(self, case: Case) -> Run | None:
        """The run of a case, if it is there and complete."""
        try:
            found = self.kept.read(self._name(case))
            return None if found is None else _run_of(found)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None  # damaged, or written by another version: the case runs again

    def write(self, case: Case, run: Run) -> None:
        """Keep a run."""
        with writing_to(self.kept.folder):
            self.kept.write(self._name(case), _worded(asdict(run)))


def _run_of(record: Record) -> Run:
    """Make a run from what was kept."""
    curves = {
        source: {int(r): _numbers(metrics) for r, metrics in curve.items()}
        for source, curve in record.pop("curves").items()
    }
    nodes = {int(node): _numbers(metrics) for node, metrics in record.pop("nodes").items()}
    verdicts = [(int(r), str(node), str(verdict)) for r, node, verdict in record.pop("verdicts")]
    return Run(**record, curves=curves, nodes=nodes, verdicts=verdicts)


def _numbers(metrics: Record) -> dict[str, float]:
    return {key: float(value) for key, value in metrics.items()}


def _worded(value: Any) -> Any:
    """The same with words for NaN and infinity, because JSON has no such numbers."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {str(key): _worded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_worded(item) for item in value]
    return value
