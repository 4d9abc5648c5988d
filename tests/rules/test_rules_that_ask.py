"""A user's rule that asks for the model or for claimed counts, alone and mixed, in both APIs and on rows."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from cases import gaussian
from flower import Sent, every_api, flat

from flwr_byzantine.kernels import Reduction
from flwr_byzantine.rules import Median, NearestNeighborMixing, Rule, check_rule


@dataclass(frozen=True)
class NotTooLong(Rule):
    """The mean of the updates that are at most twice as long as the median length."""

    uses_model: ClassVar[bool] = True

    @property
    def min_updates(self):
        return 1

    def tolerated(self, n):
        return (n - 1) // 2

    def mixing_of(self, given):
        squared = given.distances.squared_norms
        kept = squared <= 4 * np.median(squared)
        return kept[None] / kept.sum()


class NotTooLongAsLists(NotTooLong):
    """The same rule, with a weight for the model too, as a list."""

    def mixing_of(self, given):
        row = super().mixing_of(given)[0]
        return [[*row.tolist(), 0.0]]


@dataclass(frozen=True)
class Claimed(Rule):
    """The mean weighted by claimed counts, but none above their median. Without a claim, the count is one."""

    uses_counts: ClassVar[bool] = True

    @property
    def min_updates(self):
        return 1

    def mixing_of(self, given):
        claimed = np.where(given.counts > 0, given.counts, np.nan)
        middle = np.nanmedian(claimed) if np.isfinite(claimed).any() else 1.0
        weights = np.fmin(np.where(np.isnan(claimed), 1.0, claimed), middle)
        return weights[None] / weights.sum()


def not_too_long(u, counts=None):
    lengths = np.linalg.norm(u, axis=1)
    return u[lengths <= 2 * np.median(lengths)].mean(axis=0)


def claimed_mean(u, counts):
    counts = np.array([np.nan if c is None or not c > 0 else c for c in counts], float)
    middle = np.nanmedian(counts) if np.isfinite(counts).any() else 1.0
    weights = np.fmin(np.where(np.isnan(counts), 1.0, counts), middle)
    return weights @ u / weights.sum()


UPDATES = gaussian(7, 12, seed=3) * 0.1
UPDATES[2] *= 30
MODEL = gaussian(1, 12, seed=4)[0]
COUNTS = [10, 20, 10**9, 40, 5, 60, 0]


def sent_by(api, payload):
    """What clients send, so that their updates are UPDATES."""
    return UPDATES + MODEL if payload == "parameters" else UPDATES


def new_model(api, rule, payload, mixed):
    """The model that a strategy makes of the updates."""
    robust = api.ours.RobustFedAvg if api.name == "train" else api.ours.strategy.RobustFedAvg
    extra = {"pre_aggregation": NearestNeighborMixing(1)} if mixed == "keyword" else {}
    if mixed == "operator":
        rule = NearestNeighborMixing(1) >> rule
    if payload == "gradients":
        extra |= {"learning_rate": 0.5}
    strategy = robust(rule=rule, payload=payload, **extra)
    api.hand_out(strategy, [MODEL[:5], MODEL[5:]])
    replies = [
        api.reply(Sent(100 + i, [row[:5], row[5:]], num_examples=count))
        for i, (row, count) in enumerate(zip(sent_by(api, payload), COUNTS, strict=True))
    ]
    return flat(api.aggregate(strategy, replies)[0])


@every_api
@pytest.mark.parametrize("payload", ["parameters", "gradients"])
@pytest.mark.parametrize("mixed", [None, "operator", "keyword"])
@pytest.mark.parametrize(
    ("rule", "expected"),
    [(NotTooLong(), not_too_long), (NotTooLongAsLists(), not_too_long), (Claimed(), claimed_mean)],
    ids=["model", "lists", "counts"],
)
def test_in_a_strategy(api, payload, mixed, rule, expected):
    rows, counts = UPDATES, COUNTS
    if mixed:
        rows = NearestNeighborMixing(1)(UPDATES)
        weights = (np.linalg.norm(UPDATES[:, None] - UPDATES, axis=2)).argsort(axis=1)[:, :6]
        counts = np.array(COUNTS, float)[weights].mean(axis=1)
    aggregate = expected(rows, counts)
    moved = aggregate if payload == "parameters" else -0.5 * aggregate
    np.testing.assert_allclose(new_model(api, rule, payload, mixed), MODEL + moved, rtol=1e-9)


@pytest.mark.parametrize("rule", [NotTooLong(), NotTooLongAsLists()])
def test_the_model_of_bare_rows_is_zero_unless_it_is_given(rule):
    np.testing.assert_allclose(rule(UPDATES), not_too_long(UPDATES))
    found = rule(UPDATES + MODEL, model=MODEL)
    np.testing.assert_allclose(found, not_too_long(UPDATES) + MODEL)
    weights = rule.weights(UPDATES + MODEL, model=MODEL)
    np.testing.assert_allclose(weights, [1 / 6, 1 / 6, 0, *[1 / 6] * 4])


def test_bare_rows_are_claimed_by_nobody_unless_counts_are_given():
    rule = Claimed()
    np.testing.assert_allclose(rule(UPDATES), UPDATES.mean(axis=0))
    np.testing.assert_allclose(rule(UPDATES, counts=COUNTS), claimed_mean(UPDATES, COUNTS))
    some = [None, 20, np.nan, np.inf, 5, 60, 7]
    expected = claimed_mean(UPDATES, [None, 20, None, None, 5, 60, 7])
    np.testing.assert_allclose(rule(UPDATES, counts=some), expected)
    np.testing.assert_allclose(rule.weights(UPDATES, counts=[1] * 7), np.full(7, 1 / 7))
    np.testing.assert_array_equal(Median()(UPDATES, counts=COUNTS), Median()(UPDATES))


def test_given_counts_are_nan_where_nobody_claims():
    seen = []

    class Looks(Claimed):
        def mixing_of(self, given):
            seen.append(given.counts)
            return super().mixing_of(given)

    Looks()(UPDATES)
    (NearestNeighborMixing(1) >> Looks())(UPDATES)
    assert all(np.isnan(counts).all() and counts.shape == (7,) for counts in seen)
    assert len(seen) == 2


@pytest.mark.parametrize("counts", [[1, 2], 3, [1, 2, 3, 4, 5, 6, "many"], [[1]] * 7, []])
def test_counts_are_one_number_for_each_update(counts):
    with pytest.raises(ValueError, match=r"Parameter `counts` should hold 7 numbers.*Found"):
        Claimed()(UPDATES, counts=counts)


def test_who_claims_nothing_takes_no_counts_from_the_rows_it_is_mixed_into():
    seen = []

    class Looks(Claimed):
        def mixing_of(self, given):
            seen.append(given.counts)
            return super().mixing_of(given)

    (NearestNeighborMixing(1) >> Looks())([[0.0], [1.0], [3.0], [50.0]], counts=[6, None, 9, 1e6])
    np.testing.assert_allclose(seen[0], [7.5, 7.5, 7.5, (9 + 1e6) / 2])


@every_api
@pytest.mark.parametrize("mixed", [None, "operator"])
@pytest.mark.parametrize("count", [10**400, -5, 1e308, float("nan"), 0])
def test_no_claim_ends_a_round(api, count, mixed):
    rule = NearestNeighborMixing(1) >> Claimed() if mixed else Claimed()
    robust = api.ours.ByzantineRobust(api.theirs.FedAvg(), rule=rule)
    api.hand_out(robust, [MODEL])
    claims = [10, 20, 30, count]
    if api.name == "train" and isinstance(count, int) and abs(count) > 2**63:
        claims[3] = 2**62
    replies = [api.reply(Sent(i, [MODEL + i], num_examples=c)) for i, c in enumerate(claims)]
    new, _ = api.aggregate(robust, replies)
    assert np.isfinite(flat(new)).all()


def test_they_pass_the_common_checks():
    for rule in (NotTooLong(), NotTooLongAsLists(), Claimed()):
        check_rule(rule)
        check_rule(NearestNeighborMixing(1) >> rule)


@dataclass(frozen=True)
class MixedTrimmedMean(Rule):
    """A rule that sees only distances, as docs/tutorials/write-a-rule.md teaches it."""

    num_byzantine: int
    uses_distances: ClassVar[bool] = True

    @property
    def min_updates(self):
        return 2 * self.num_byzantine + 1

    def mixing(self, n, distances):
        kept = n - self.num_byzantine
        nearest = np.argsort(distances, axis=1, kind="stable")[:, :kept]
        weights = np.zeros((n, n))
        np.put_along_axis(weights, nearest, 1 / kept, axis=1)
        return weights

    def reduction(self, k):
        return Reduction(trim=self.num_byzantine)


@every_api
@pytest.mark.parametrize("payload", ["parameters", "gradients"])
@pytest.mark.parametrize("mixed", [None, "operator", "keyword"])
def test_rules_of_distances_alone_keep_working(api, payload, mixed):
    rule = MixedTrimmedMean(1)
    rows = NearestNeighborMixing(1)(UPDATES) if mixed else UPDATES
    moved = rule(rows) if payload == "parameters" else -0.5 * rule(rows)
    np.testing.assert_allclose(new_model(api, rule, payload, mixed), MODEL + moved, rtol=1e-9)
    check_rule(NearestNeighborMixing(1) >> rule if mixed else rule)
