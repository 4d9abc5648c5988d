"""The cells of all experiments by their place, and the result of each cell that was run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from flwr_byzantine.lab.kept import Record
from simulations.config import RunConfig
from simulations.measure.measures import Metric
from simulations.report.names import written
from simulations.sweep.cells import read_cell
from simulations.sweep.experiment import Cell, Experiment, Profile

BENCHMARK = "benchmark"  # stands where claims about cost name an experiment
SUITES = ("strategies", "clients", "scaling", "rules", "first_use", "rounds")


class Place(NamedTuple):
    """A place in a figure, with one run for each seed. In a benchmark it is a suite and a row."""

    experiment: str
    figure: str
    rule: str
    attack: str = ""
    variant: str = ""

    @property
    def column(self) -> str:
        """The attack and the variant in words."""
        return ", ".join(part for part in (self.attack, self.variant) if part)

    @property
    def name(self) -> str:
        """The place in words, without its experiment and figure."""
        return f"{self.rule}, {self.column}" if self.column else self.rule


class Results:
    """What has been measured of a profile.

    Parameters
    ----------
    experiments : sequence of Experiment
        The experiments.
    profile : {"quick", "paper"}
        Their scale.
    folder : Path
        Where ``python -m simulations sweep`` wrote its cells.
    benchmark : Path, optional
        The ``bench.json`` of ``python -m benchmarks``.
    """

    def __init__(
        self,
        experiments: Sequence[Experiment],
        profile: Profile,
        folder: Path,
        benchmark: Path | None = None,
    ) -> None:
        self.experiments = tuple(experiments)
        self.profile = profile
        self.cells: dict[Place, dict[int, Record | None]] = {}
        self.keys: dict[Place, dict[int, str]] = {}
        self.configs: dict[Place, RunConfig] = {}  # of the first seed
        self._places: dict[tuple[str, str], list[Place]] = {}
        self._shown: dict[tuple[str, str], str] = {}
        for experiment in experiments:
            for cell in experiment.cells(profile):
                place = _place(cell)
                if place not in self.cells:
                    self.configs[place] = cell.config
                    self._places.setdefault(place[:2], []).append(place)
                self.cells.setdefault(place, {})[cell.seed] = read_cell(folder, cell)
                self.keys.setdefault(place, {})[cell.seed] = cell.key
                shown = written(cell.rule.removesuffix(", letter") + form(cell.config))
                self._shown[experiment.name, cell.rule] = shown
        self.bench: Record = json.loads(benchmark.read_text()) if benchmark else {}

    def runs(self, place: Place) -> dict[int, Record]:
        """Return the runs at a place by seed. The result is empty if nothing was run.

        Raises
        ------
        LookupError
            If no experiment has such a place.
        """
        if place.experiment == BENCHMARK:
            return self._row(place)
        if place not in self.cells:
            raise LookupError(
                f"A claim should refer to a rule, attack and variant of a figure in "
                f"simulations/experiments. Found {tuple(place)}: correct the claim, or add the cell."
            )
        return {seed: run for seed, run in self.cells[place].items() if run is not None}

    def shown(self, experiment: str, rule: str) -> str:
        """Return a rule's name as people write it. For ByGARS it says which form it is."""
        return self._shown.get((experiment, rule), written(rule))

    def described(self, place: Place) -> str:
        """Return a place in words, without its experiment and figure."""
        return written(place._replace(rule=self.shown(place.experiment, place.rule)).name)

    def metric(self, experiment: str) -> Metric:
        """Return what an experiment is judged by."""
        named = {own.name: own.metric for own in self.experiments}
        return Metric(named.get(experiment, "accuracy"))  # of the benchmark: not used

    def places(self, experiment: str, figure: str | None = None) -> list[Place]:
        """Return the places of a figure, or of all, in the order of the file."""
        return [
            place
            for (own, title), places in self._places.items()
            if own == experiment and figure in (None, title)
            for place in places
        ]

    def runs_by_key(self, places: Iterable[Place]) -> dict[tuple[str, str], Record | None]:
        """Return the runs of places by experiment and key. What is in several figures is there once."""
        return {
            (place.experiment, key): self.cells[place][seed]
            for place in places
            for seed, key in self.keys[place].items()
        }

    def _row(self, place: Place) -> dict[int, Record]:
        """The row of a suite: by its name, and by the number of clients where there are several."""
        if place.figure not in SUITES:
            raise LookupError(
                f"A claim about cost should name one of the suites {', '.join(SUITES)}. "
                f"Found `{place.figure}`."
            )
        for row in self.bench.get(place.figure, []):
            if row["name"] == place.rule and place.variant in ("", f"n = {row.get('n')}"):
                return {0: row}
        return {}


def form(config: RunConfig) -> str:
    """Which form of its rule a run has, to be put behind the rule's name.

    Examples
    --------
    >>> form(RunConfig(rule="bygars", rule_args="normalize=false")), form(RunConfig(rule="mean"))
    (' (to the letter)', '')
    """
    if not config.rule.startswith("bygars"):
        return ""
    return " (normalised)" if config.rule_args.get("normalize", True) else " (to the letter)"


def _place(cell: Cell) -> Place:
    return Place(cell.experiment, cell.figure, cell.rule, cell.attack, cell.variant)
