"""An experiment's cells by rule, attack and data. Only cells with the true f are in it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

from flwr_byzantine.lab.kept import Record
from simulations.report.view import Place, Results

PLAIN = ("mean", "fedavg")  # no defence
F = "f = "  # begins the part of a variant's name that says which f rules are told

Runs = dict[int, Record]


def data_of(place: Place) -> str:
    """Return what a variant says of the data: all of its name but the f that rules are told.

    Examples
    --------
    >>> data_of(Place("", "", "krum", "lie", "alpha = 1, f = 3"))
    'alpha = 1'
    """
    return ", ".join(part for part in place.variant.split(", ") if not part.startswith(F))


@dataclass(frozen=True)
class Loss:
    """Points that a rule loses under an attack, seed by seed, against no defence and no attack."""

    attack: str
    values: list[float]

    @property
    def mean(self) -> float:
        """The mean over the seeds."""
        return fmean(self.values)


class Pool:
    """The cells of an experiment, or of one figure, at the true f.

    Parameters
    ----------
    results : Results
        What has been measured.
    experiment : str
        The experiment.
    figure : str or None
        One of its figures. None: all figures together.
    """

    def __init__(self, results: Results, experiment: str, figure: str | None = None) -> None:
        self.results = results
        self.experiment = experiment
        self.metric = results.metric(experiment)
        places = [
            place
            for place in results.places(experiment, figure)
            if results.configs[place].byzantine in (0, results.configs[place].assumed_byzantine)
        ]
        told = {
            results.configs[place].assumed_byzantine
            for place in places
            if results.configs[place].byzantine
        }
        self.places = [
            place
            for place in places
            if not told or results.configs[place].assumed_byzantine in told
        ]
        self.rules = _ordered(place.rule for place in self.places)
        self.data = _ordered(data_of(place) for place in self.places)
        self.calm = _ordered(p.attack for p in self.places if results.configs[p].attack == "none")
        self.attacks = [a for a in _ordered(p.attack for p in self.places) if a not in self.calm]
        self.plain = next(
            (p.rule for name in PLAIN for p in self.places if results.configs[p].rule == name), ""
        )
        self._runs: dict[tuple[str, str, str], Runs] = {}
        for place in self.places:
            runs = self._runs.setdefault((place.rule, place.attack, data_of(place)), {})
            for seed, run in results.runs(place).items():
                runs.setdefault(seed, run)

    def runs(self, rule: str, attack: str, data: str) -> Runs:
        """Return the runs by seed. The result is empty if nothing was run."""
        return self._runs.get((rule, attack, data), {})

    def calm_runs(self, rule: str, data: str) -> Runs:
        """Return a rule's runs without an attack."""
        return self.runs(rule, self.calm[0], data) if self.calm else {}

    def loss(self, rule: str, attack: str, data: str) -> Loss | None:
        """Return what a rule loses under an attack. None if it or the reference has not been run."""
        reference = self.calm_runs(self.plain, data)
        own = self.runs(rule, attack, data)
        name = f"final_{self.metric.name}"
        values = [100 * (reference[s][name] - own[s][name]) for s in own if s in reference]
        return Loss(attack, values) if values else None

    def cost(self, rule: str, data: str) -> Loss | None:
        """Return what a rule loses without an attack."""
        return self.loss(rule, self.calm[0], data) if self.calm else None

    def worst(self, rule: str, data: str) -> Loss | None:
        """Return what a rule loses under the attack that is worst for it."""
        losses = [self.loss(rule, attack, data) for attack in self.attacks]
        return max((loss for loss in losses if loss), key=lambda loss: loss.mean, default=None)

    def met(self, rule: str, data: str) -> tuple[int, int]:
        """Return how many attacks a rule has been run under, and how many it is to be run under."""
        planned = [attack for attack in self.attacks if (rule, attack, data) in self._runs]
        return sum(bool(self._runs[rule, attack, data]) for attack in planned), len(planned)

    def is_plain(self, rule: str) -> bool:
        """Tell whether a rule is no defence."""
        return any(p.rule == rule and self.results.configs[p].rule in PLAIN for p in self.places)


def _ordered(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
