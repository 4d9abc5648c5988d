"""Where a report's numbers come from, and what differs from the papers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from flwr_byzantine.lab.kept import Record
from simulations.report.blocks import Block, Heading, Table, Text
from simulations.report.evidence import models
from simulations.report.view import Results

UNKNOWN = "not recorded"


def provenance_blocks(results: Results) -> list[Block]:
    """Return where the numbers come from, for each experiment and for all together."""
    rows, every = [], []
    for experiment in results.experiments:
        found = results.runs_by_key(results.places(experiment.name))
        runs = [run for run in found.values() if run is not None]
        every += runs
        rows.append([experiment.title, *_row(runs)])
    if len(rows) > 1:
        rows.append(["in all", *_row(every)])
    head = [
        "experiment", "cells", "different models", "job-hours", "processor and cores", "kernels", "commit",
        "newest cell",
    ]  # fmt: skip
    return [
        Heading("Where the numbers come from"),
        Text(
            f"{len(every)} cells hold {len(models(every))} different models. A job-hour is an hour of one "
            f"process. Versions: {_versions(every) or UNKNOWN}. If a cell is older than the record of "
            f"machines, the table says `{UNKNOWN}`."
        ),
        Table(head, rows),
    ]


def deviation_blocks(results: Results) -> list[Block]:
    """Return a table of what the runs do differently from their sources."""
    rows = [
        [own.title, own.source, own.about, own.profiles[results.profile].note]
        for own in results.experiments
    ]
    head = [
        "experiment",
        "source",
        "what differs at any scale",
        f"scale of profile {results.profile}",
    ]
    return [Heading("What differs from the sources"), Table(head, rows)]


def job_hours(runs: Iterable[Record]) -> float:
    """Return the hours that runs took. For old runs it is the median round times the number of rounds.

    Examples
    --------
    >>> job_hours([{"seconds": 1800.0}, {"seconds_per_round": 18.0, "config": {"rounds": 100}}])
    1.0
    """
    seconds: Iterator[float] = (
        run["seconds"]
        if "seconds" in run
        else run.get("seconds_per_round", 0.0) * run["config"]["rounds"]
        for run in runs
    )
    return sum(seconds) / 3600


def _row(runs: Sequence[Record]) -> list[str]:
    told = [run["provenance"] for run in runs if "provenance" in run]
    machines = _ordered(f"{own['processor']}, {own['cores']}" for own in told)
    if runs and len(told) < len(runs):
        machines.append(UNKNOWN)
    return [
        str(len(runs)),
        str(len(models(runs))),
        f"{job_hours(runs):.1f}",
        "; ".join(machines),
        ", ".join(_ordered(own["kernels"] for own in told)),
        ", ".join(_ordered(own["commit"] or UNKNOWN for own in told)),
        max((own["date"] for own in told), default=""),
    ]


def _versions(runs: Iterable[Record]) -> str:
    """Every version of every package that a run was made with."""
    found: dict[str, list[str]] = {}
    for run in runs:
        for package, version in (run.get("versions") or {}).items():
            if version and version not in found.setdefault(package, []):
                found[package].append(version)
    return ", ".join(f"{name} {' and '.join(sorted(own))}" for name, own in found.items() if own)


def _ordered(names: Iterable[str]) -> list[str]:
    return sorted(set(names))
