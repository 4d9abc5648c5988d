"""`check_rule` passes every rule of the library, and says what is wrong with a broken rule."""

import itertools
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import cases
import numpy as np
import pytest

from flwr_byzantine import rules
from flwr_byzantine.checks import ParameterError
from flwr_byzantine.kernels import Reduction
from flwr_byzantine.rules import BrokenRuleError, check_rule
from flwr_byzantine.rules.coordinatewise import FlooredTrimmedMean
from flwr_byzantine.rules.properties import PROPERTIES


@pytest.mark.parametrize("f", [0, 1, 3])
@cases.every_rule
def test_every_rule_passes(case, f):
    check_rule(case.make(f))


STEPS = {
    "mixing": rules.NearestNeighborMixing(1),
    "bucketing": rules.Bucketing(2),
    "seeded": rules.Bucketing(2, seed=4),
    "clipping": rules.Clipping(2.0),
    "adaptive": rules.AdaptiveClipping(1),
    "several": rules.AdaptiveClipping(1) >> rules.NearestNeighborMixing(1) >> rules.Bucketing(2),
}


@pytest.mark.parametrize("step", STEPS)
@cases.every_rule
def test_every_composition_passes(case, step):
    check_rule(STEPS[step] >> case.make(1))


OTHERS = [
    FlooredTrimmedMean(), rules.CenteredClipping(), rules.CenteredClipping(0.5, iterations=3),
    rules.CenteredClipping(1e4), rules.TrimmedMean(0.2), rules.Krum(0.3), rules.Bulyan(0.1),
    rules.NearestNeighborMixing(0.2) >> rules.Phocas(0.2), rules.Bucketing(3) >> rules.Krum(0.1),
    rules.NearestNeighborMixing(2) >> rules.CenteredClipping(1.0), rules.Krum(20),
]  # fmt: skip


@pytest.mark.parametrize("rule", OTHERS, ids=str)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_fractions_and_lengths_pass(rule, seed):
    check_rule(rule, seed=seed)


@dataclass(frozen=True)
class Own(rules.Rule):
    """A median that is told f. Each broken rule below changes one thing of it."""

    num_byzantine: int = 1

    uses_distances: ClassVar[bool] = True

    @property
    def min_updates(self):
        return 2 * self.num_byzantine + 1

    def reduction(self, k):
        return Reduction((k - 1) // 2)


class Average(Own):
    """An average that says that it tolerates f."""

    def mixing(self, n, distances):
        return np.full((1, n), 1 / n)

    def reduction(self, k):
        return None


class Writes(Own):
    def mixing(self, n, distances):
        distances[:] = 0
        return np.eye(n)


class WritesInScores(Own):
    def scores(self, n, distances):
        distances.sort(axis=1)
        return distances.sum(axis=1)


class FirstWins(Average):
    def mixing(self, n, distances):
        return np.eye(n)[:1]


class InOrder(Average):
    def mixing(self, n, distances):
        nearest = np.argsort(distances[0], kind="stable")[: n - self.num_byzantine]
        row = np.zeros((1, n))
        row[0, nearest] = 1 / len(nearest)
        return row


class NotFinite(Average):
    def mixing(self, n, distances):
        return np.full((1, n), np.nan)


class NotFiniteAtFive(Average):
    def mixing(self, n, distances):
        return np.full((1, n), np.nan if n == 4 else 1 / n)


class SumsToMore(Average):
    num_byzantine: int = 0

    def mixing(self, n, distances):
        return np.full((1, n), 1.1 / n)


class Shrinks(Own):
    """Its mixed rows are too short. The sum of their weights shows it, and so does a translation."""

    def mixing(self, n, distances):
        return 0.9 * np.eye(n)


class BoundTooLow(Own):
    min_updates = 1

    def reduction(self, k):
        return Reduction(self.num_byzantine)


class BoundOfHalf(Own):
    """It says that it tolerates as many Byzantine clients as honest ones."""

    @property
    def min_updates(self):
        return 2 * self.num_byzantine


class BoundOfNone(Own):
    min_updates = None


class Tosses(Average):
    def mixing(self, n, distances):
        row = np.random.default_rng().uniform(size=(1, n))
        return row / row.sum()


class HasThreshold(Average):
    """It leaves out updates whose nearest neighbour is farther away than 10."""

    num_byzantine: int = 0

    def mixing(self, n, distances):
        near = (distances < 100).sum(axis=1) > 1
        return near[None] / max(1, near.sum())


class AddsToDistances(Average):
    """It adds the usual epsilon to a denominator. Here it is larger than the distances of small updates."""

    num_byzantine: int = 0

    def mixing(self, n, distances):
        weights = 1 / (distances.sum(axis=1) + 1.0)
        return weights[None] / weights.sum()


class RoundsDistances(Own):
    """It takes distances below 1 for zero."""

    num_byzantine: int = 0

    def mixing(self, n, distances):
        scores = np.where(distances < 1, 0, distances).sum(axis=1)
        return np.eye(n)[scores.argmin()][None]


class KeepsTooManyNeighbours(Average):
    """The mean of the n - f + 1 updates nearest to the one that Krum chooses."""

    def mixing(self, n, distances):
        scores = np.sort(distances, axis=1)[:, : n - self.num_byzantine].sum(axis=1)
        nearest = np.argsort(distances[scores.argmin()])[: n - self.num_byzantine + 1]
        row = np.zeros((1, n))
        row[0, nearest] = 1 / len(nearest)
        return row


class Raises(Own):
    def mixing(self, n, distances):
        return distances[n]


class WrongScores(Own):
    def scores(self, n, distances):
        return np.full(n, np.nan)


class Forgets(Own):
    def without(self, dropped):
        return None


class LowersTooMuch(Own):
    def without(self, dropped):
        return replace(self, num_byzantine=0) if dropped else self


class NoNumber(Own):
    def at(self, received):
        return replace(self, num_byzantine=received)


@dataclass(frozen=True)
class Unhashable(Own):
    places: Any = ()


class OfIdentity(Own):
    """It is equal only to itself."""

    __hash__ = object.__hash__

    def __eq__(self, other):
        return self is other


class ByCounts(Average):
    """It weighs by claimed counts, as FedAvg does, and says that it is robust."""

    uses_counts: ClassVar[bool] = True

    def mixing_of(self, given):
        claimed = np.where(given.counts > 0, given.counts, 1.0)
        return np.clip(claimed, 1, 1e12)[None] / np.clip(claimed, 1, 1e12).sum()


class ByCountsOfEverybody(ByCounts):
    """The same, but it fails unless every client claims a count."""

    num_byzantine: int = 0

    def mixing_of(self, given):
        return given.counts[None] / given.counts.sum()


class LengthsWithoutModel(Own):
    """It says that it asks for the model, but gives it no weight, and averages all updates."""

    uses_model: ClassVar[bool] = True

    def mixing_of(self, given):
        return np.full((1, given.n), 1.0 / given.n)

    def reduction(self, k):
        return None


BROKEN = [
    (Average(1), "robustness", r"n = 3 updates, f = 1, seed 0: a result .* times the honest"),
    (Writes(1), "untouched", "`mixing` wrote to its input"),
    (WritesInScores(1), "untouched", "`scores` wrote to its input"),
    (FirstWins(1), "permutation", r"in the order \[2, 0, 1\]"),
    (InOrder(1), "permutation", "order"),
    (NotFinite(1), "finite", "nan"),
    (NotFiniteAtFive(1), "finite", "n = 4 updates"),
    (SumsToMore(0), "translation", "of updates moved by"),
    (Shrinks(1), "translation", "of updates moved by"),
    (BoundTooLow(2), "numbers", r"reduction of 1 rows.*min_updates"),
    (BoundOfHalf(1), "numbers", "n = 2 updates, f = 1"),
    (BoundOfNone(1), "numbers", "`min_updates` of BoundOfNone should be a whole number"),
    (Own(-1), "numbers", "`min_updates` of Own should be a whole number of at least 1"),
    (Tosses(0), "repeats", "later"),
    (HasThreshold(1), "scaling", "override `scaled`"),
    (AddsToDistances(0), "scaling", "override `scaled`"),
    (RoundsDistances(0), "scaling", "override `scaled`"),
    (KeepsTooManyNeighbours(2), "robustness", "n = 5 updates, f = 2"),
    (Raises(1), "finite", "IndexError"),
    (WrongScores(1), "scores", "nan"),
    (Forgets(1), "without", r"`without\(0\)` is None"),
    (LowersTooMuch(2), "without", r"`without\(1\)` is LowersTooMuch\(.*tolerates 0 in place of 2"),
    (NoNumber(1), "numbers", "tolerated"),
    (Unhashable(1, np.zeros(2)), "value", ""),
    (Unhashable(1, [1]), "value", "TypeError: unhashable"),
    (OfIdentity(1), "value", "a copy that is not equal to the rule"),
    (ByCounts(1), "robustness", "examples claimed"),
    (ByCountsOfEverybody(0), "counts", "clients claim"),
    (LengthsWithoutModel(1), "robustness", "f = 1"),
]


@pytest.mark.parametrize(("rule", "lacks", "found"), BROKEN, ids=lambda x: str(x)[:20])
def test_a_broken_rule_is_told_what_it_lacks(rule, lacks, found):
    with pytest.raises(BrokenRuleError, match=f"(?s)the property `{lacks}`.*{found}") as caught:
        check_rule(rule)
    assert isinstance(caught.value, AssertionError)
    assert caught.value.name == lacks
    assert "seed 0" in str(caught.value)
    assert f'skip=("{lacks}",)' in str(caught.value)


def test_behind_a_pre_aggregation_too():
    for rule, lacks in ((FirstWins(1), "permutation"), (Average(1), "robustness")):
        with pytest.raises(BrokenRuleError, match=f"`{lacks}`"):
            check_rule(rules.NearestNeighborMixing(1) >> rule)


def test_what_was_found_can_be_seen_again():
    found = []
    for _ in range(2):
        with pytest.raises(BrokenRuleError) as caught:
            check_rule(Average(1), seed=3)
        found.append(str(caught.value))
    assert found[0] == found[1]
    assert "seed 3" in found[0]
    trial = caught.value.trial
    assert trial.updates.shape == (3, 20)
    assert trial.f == 1


def test_properties_are_left_out_by_name():
    check_rule(FirstWins(1), skip=("permutation", "robustness"))
    check_rule(HasThreshold(1), skip="scaling")
    check_rule(Average(1), skip={"robustness"})
    with pytest.raises(BrokenRuleError, match="`robustness`"):
        check_rule(FirstWins(1), skip=["permutation"])
    with pytest.raises(ParameterError, match="`skip` should be names of properties: numbers, at,"):
        check_rule(Own(1), skip=("permutations",))


def test_the_names_are_documented():
    for name, check in PROPERTIES.items():
        assert f"``{name}``" in check_rule.__doc__
        assert check.__doc__.endswith(".")


@pytest.mark.parametrize(
    ("wrong", "advice"),
    [
        (rules.Median, "not its class"),
        (rules.NearestNeighborMixing(1), "Put a rule behind it"),
        (None, "Pass one of `flwr_byzantine.rules`"),
        (np.median, "Pass one of `flwr_byzantine.rules`"),
    ],
)
def test_only_rules_are_checked(wrong, advice):
    with pytest.raises(ParameterError, match=rf"`rule` should be a rule such as.*{advice}"):
        check_rule(wrong)


def test_the_seed_is_a_number():
    with pytest.raises(ParameterError, match="`seed`"):
        check_rule(Own(1), seed=None)


def test_nothing_but_numpy_is_needed(monkeypatch):
    import sys

    for name in ("pytest", "hypothesis"):
        monkeypatch.setitem(sys.modules, name, None)
    check_rule(Own(1))


def test_global_random_numbers_are_left_alone():
    np.random.seed(1)  # noqa: NPY002
    before = np.random.get_state()  # noqa: NPY002
    check_rule(rules.Bucketing(2) >> Own(1))
    after = np.random.get_state()  # noqa: NPY002
    assert all(np.array_equal(x, y) for x, y in zip(before, after, strict=True))


class Counted(Own):
    calls: ClassVar[Any] = itertools.count()

    def reduction(self, k):
        next(self.calls)
        return super().reduction(k)


def test_a_check_is_a_few_hundred_calls():
    check_rule(Counted(1))
    assert next(Counted.calls) < 500
