"""What claims rest on: how many cells, how many different models, and what averaging does in their place."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import product

from flwr_byzantine.lab.kept import Record
from simulations.report.claim import Claim
from simulations.report.pool import PLAIN
from simulations.report.view import BENCHMARK, Place, Results

MODEL = "parameters_sha256"
MORE_IS_BETTER = ("learned", "progress", "excess", "alignment", "speed", "signs", "least_part")
LESS_IS_BETTER = ("behind", "best_behind", "slower", "worst", "success")
Key = tuple[str, str]  # of a cell: its experiment, and the name of its configuration


def models(runs: Iterable[Record | None]) -> set[str]:
    """Return the different models of some runs."""
    return {run[MODEL] for run in runs if run is not None and MODEL in run}


def keys(places: Iterable[Place], results: Results) -> list[Key]:
    """Return the keys of the cells at places, each once. A benchmark has no cells, and so no keys."""
    run = (place for place in places if place.experiment != BENCHMARK)
    return list(results.runs_by_key(run))


def same_models(places: Sequence[Place], results: Results) -> dict[Place, int]:
    """Return a number for each place that has the same models as another one, seed by seed."""
    groups: dict[tuple[tuple[int, str], ...], list[Place]] = {}
    for place in places:
        found = tuple((s, run[MODEL]) for s, run in results.runs(place).items() if MODEL in run)
        if found:
            groups.setdefault(found, []).append(place)
    shared = [own for own in groups.values() if len(own) > 1]
    return {place: number for number, own in enumerate(shared, 1) for place in own}


def asks_for_survival(claim: Claim) -> bool:
    """Tell whether a claim says that rules do well. Then averaging should do badly."""
    at_least, at_most = max(claim.above, claim.at_least), min(claim.below, claim.at_most)
    return (claim.measure in MORE_IS_BETTER and math.isfinite(at_least)) or (
        claim.measure in LESS_IS_BETTER and math.isfinite(at_most)
    )


def controls(claim: Claim, results: Results) -> list[Place]:
    """Return the places of averaging under the attacks of a claim about survival, if there are any.

    If the claim's own figure has no averaging, they are from another figure of the experiment.
    """
    if claim.experiment == BENCHMARK or not asks_for_survival(claim):
        return []
    found = []
    for attack, variant in product(claim.attacks, claim.variants):
        own = Place(claim.experiment, claim.figure, claim.rules[0], attack, variant)
        if own not in results.configs or results.configs[own].attack == "none":
            continue
        plain = next(iter(_averaging(own, results)), None)
        if plain is None or plain.rule in claim.rules:
            continue
        other = plain if claim.against is None else claim.against.of(plain)
        if other in results.cells and (other != plain or claim.against is None):
            found.append(plain)
    return list(dict.fromkeys(found))


def _averaging(own: Place, results: Results) -> list[Place]:
    """The places of averaging under the same attack, that of the same figure first."""
    alike = [
        place
        for place in results.places(own.experiment)
        if place.attack == own.attack
        and place.variant == own.variant
        and results.configs[place].rule in PLAIN
    ]
    return sorted(alike, key=lambda place: place.figure != own.figure)
