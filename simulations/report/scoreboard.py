"""The scoreboard: what the results say of the papers' claims."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Final, Literal, NamedTuple

from simulations.measure.measures import MEASURES
from simulations.report.claim import Claim
from simulations.report.evidence import Key, controls, keys, models
from simulations.report.seeds import shown
from simulations.report.view import BENCHMARK, Place, Results
from simulations.sweep.experiment import NAMES

Verdict = Literal["holds", "does not hold", "no test", "not run"]
HOLDS: Final = "holds"
FAILS: Final = "does not hold"
NO_TEST: Final = "no test"
NOT_RUN: Final = "not run"


class Seen(NamedTuple):
    """A measurement, seed by seed, and how many seeds are planned. Some of them may have none."""

    name: str
    values: Sequence[float]
    planned: int

    @property
    def value(self) -> float:
        """The mean over the seeds. NaN if no seed has a measurement."""
        return fmean(self.values) if self.values else math.nan

    @property
    def seeds(self) -> int:
        """How many seeds have a measurement."""
        return len(self.values)

    def in_words(self, number: str) -> str:
        """The measurement in words."""
        value = shown(self.values, number) if self.seeds else NOT_RUN
        partly = f" ({self.seeds} of {self.planned} seeds)" if 0 < self.seeds < self.planned else ""
        return f"{self.name}: {value}{partly}"


@dataclass(frozen=True)
class Judged:
    """A claim and what was seen of it."""

    claim: Claim
    verdict: Verdict
    seen: list[Seen]
    controls: list[Seen] = field(default_factory=list)  # averaging under the same attacks
    cells: list[Key] = field(default_factory=list)  # of what is measured
    references: list[Key] = field(default_factory=list)  # of what that is compared with
    models: frozenset[str] = frozenset()  # of what is measured

    @property
    def numbers(self) -> str:
        """The measurements in words. Empty if there are none."""
        if not any(seen.seeds for seen in self.seen):
            return ""
        return "; ".join(seen.in_words(MEASURES[self.claim.measure].number) for seen in self.seen)

    @property
    def why(self) -> str:
        """Why the claim is no test, or does not hold. Empty if the claim does not say."""
        if self.verdict == NO_TEST:
            return self.claim.no_test
        stated = self.verdict == FAILS and self.claim.cause
        return f"{self.claim.cause}: {self.claim.why}" if stated else ""

    @property
    def averaging_survives(self) -> bool:
        """Whether averaging is within the bounds of a claim about survival, under all attacks known."""
        known = [self.claim.within(one.value) for one in self.controls if one.seeds]
        return bool(known) and all(known)

    @property
    def control(self) -> str:
        """What averaging does under the same attacks, in words. Empty if that is not known."""
        known = [one for one in self.controls if one.seeds]
        numbers = "; ".join(one.in_words(MEASURES[self.claim.measure].number) for one in known)
        return f"within the bound, too: {numbers}" if self.averaging_survives else numbers


def judge(claims: Sequence[Claim], results: Results) -> list[Judged]:
    """Evaluate claims from the results.

    A claim that is no test has no other verdict, whatever was measured. Any other claim is not run as long
    as a missing run could still decide it. If a place has some of its seeds, these decide, and the numbers
    say how many they are. Claims about experiments that the results were not asked for are left out. So are
    claims about the cost of a paper's rules, if none of its experiments was asked for.

    Raises
    ------
    LookupError
        If a claim is about something that no experiment has.
    """
    judged = []
    left_out = {*NAMES} - {own.name for own in results.experiments}
    of_runs = [claim for claim in claims if claim.experiment != BENCHMARK]
    asked = {claim.paper for claim in of_runs if claim.experiment not in left_out}
    others = {claim.paper for claim in of_runs} - asked
    for claim in claims:
        if claim.experiment in left_out or (
            claim.experiment == BENCHMARK and claim.paper in others
        ):
            continue
        seen = [measure(claim, place, results) for place in claim.places]
        runs = [own for place in claim.places for own in results.runs(place).values()]
        against = [] if claim.against is None else map(claim.against.of, claim.places)
        found = Judged(
            claim,
            _verdict(claim, seen),
            seen,
            [measure(claim, place, results) for place in controls(claim, results)],
            keys(claim.places, results),
            keys(against, results),
            frozenset(models(runs)),
        )
        judged.append(found)
    return judged


def measure(claim: Claim, place: Place, results: Results) -> Seen:
    """Measure a place with each seed that has both runs. Leave out measurements that are not a number.

    A measurement is not a number if the reference gained nothing, or if the model is not finite.
    """
    runs = results.runs(place)
    others = runs if claim.against is None else results.runs(claim.against.of(place))
    function, metric = MEASURES[claim.measure].function, results.metric(claim.experiment)
    values = [function(run, others[seed], metric) for seed, run in runs.items() if seed in others]
    numbers = [value for value in values if not math.isnan(value)]
    planned = len(results.cells.get(place, numbers))
    return Seen(results.described(place), numbers, planned)


def _verdict(claim: Claim, seen: Sequence[Seen]) -> Verdict:
    if claim.no_test:
        return NO_TEST
    within = [claim.within(one.value) if one.seeds else None for one in seen]
    if claim.some:
        return HOLDS if True in within else NOT_RUN if None in within else FAILS
    if False in within:
        return FAILS
    if None in within:
        return NOT_RUN
    values = [one.value for one in seen]
    return FAILS if claim.falling and values != sorted(values, reverse=True) else HOLDS
