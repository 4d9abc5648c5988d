"""f of a sample of clients: the library's numbers against exact fractions, and against drawn samples."""

import itertools
import math
import time
from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flwr_byzantine.checks import ParameterError
from flwr_byzantine.rules import assumed_byzantine
from flwr_byzantine.rules.assumed import risk_of

RISKS = ("1e-30", "1e-9", "1e-3", "0.1", "0.3", "0.5", "0.999")
AS_WHOLE = {"population": 100, "byzantine": 10, "sample": 20, "rounds": 200, "risk": 1e-3}


def exact_risk(population, byzantine, sample, rounds, f):
    """The formula in fractions, without rounding."""
    more = sum(
        comb(byzantine, k) * comb(population - byzantine, sample - k)
        for k in range(f + 1, min(byzantine, sample) + 1)
    )
    return 1 - (1 - Fraction(more, comb(population, sample))) ** rounds


def exact_f(population, byzantine, sample, rounds, risk):
    """The smallest f whose exact risk is small enough, found by trying one after the other."""
    numbers = (population, byzantine, sample, rounds)
    return next(f for f in itertools.count() if exact_risk(*numbers, f) <= Fraction(risk))


@st.composite
def federations(draw, most=40):
    population = draw(st.integers(1, most))
    byzantine = draw(st.integers(0, population))
    return population, byzantine, draw(st.integers(1, population))


@settings(max_examples=400, deadline=None)
@given(federations(), st.sampled_from([1, 2, 7, 200]), st.sampled_from(RISKS))
def test_it_is_the_exact_one(federation, rounds, risk):
    f = assumed_byzantine(*federation, rounds, float(risk))
    assert f == exact_f(*federation, rounds, risk)
    left = float(exact_risk(*federation, rounds, f))
    assert risk_of(*federation, rounds, f) == pytest.approx(left, rel=1e-9, abs=0)


@pytest.mark.parametrize("sample", range(1, 7))
def test_all_samples_of_a_small_population_are_counted(sample):
    attackers = {0, 1}
    counts = [len(attackers & {*nodes}) for nodes in itertools.combinations(range(6), sample)]
    for f in range(3):
        share = sum(count > f for count in counts) / len(counts)
        assert risk_of(6, 2, sample, 1, f) == pytest.approx(share)
        assert risk_of(6, 2, sample, 2, f) == pytest.approx(1 - (1 - share) ** 2)


def test_worked_by_hand():
    # 3 of 10 nodes are Byzantine. Of the 210 samples of four, 63 hold two of them and 7 all three.
    assert risk_of(10, 3, 4, 1, 1) == pytest.approx(70 / 210)
    assert risk_of(10, 3, 4, 2, 2) == pytest.approx(1 - (1 - 7 / 210) ** 2)  # 0.0656
    assert assumed_byzantine(10, 3, 4, 2, 0.0655) == 3
    assert assumed_byzantine(10, 3, 4, 2, 0.0656) == 2
    assert assumed_byzantine(10, 3, 4, 1, 0.34) == 1


def test_a_probability_equal_to_the_risk_is_allowed():
    for tenths in range(1, 10):  # P = tenths / 10, because one node of ten is asked
        assert assumed_byzantine(10, tenths, 1, 1, tenths / 10) == 0
        assert assumed_byzantine(10, tenths, 1, 1, tenths / 10 - 1e-6) == 1


@pytest.mark.parametrize("risk", ["1e-200", "1e-300", "1e-320"])
def test_no_risk_is_too_small(risk):
    population, byzantine, sample = 1200, 500, 600
    weights = [
        comb(byzantine, k) * comb(population - byzantine, sample - k) for k in range(byzantine + 1)
    ]
    more = [*itertools.accumulate(reversed(weights))][::-1]  # of k or more Byzantine nodes
    for rounds in (1, 10**6):  # numbers of rounds for which the union bound is exact enough
        most = Fraction(risk) / rounds * comb(population, sample)
        f = next(f for f in range(byzantine + 1) if sum(more[f + 1 : f + 2]) <= most)
        assert assumed_byzantine(population, byzantine, sample, rounds, float(risk)) == f


def test_drawing_agrees():
    population, byzantine, sample, rounds = 50, 10, 12, 20
    rng = np.random.default_rng(0)
    drawn = rng.hypergeometric(byzantine, population - byzantine, sample, size=(20_000, rounds))
    worst = drawn.max(axis=1)
    for f in range(2, 8):
        risk, found = risk_of(population, byzantine, sample, rounds, f), (worst > f).mean()
        assert abs(found - risk) < 4 * np.sqrt(risk * (1 - risk) / len(worst)) + 1e-3


def test_it_is_no_union_bound():
    p = float(exact_risk(100, 10, 20, 1, 3))
    assert p * 200 > 1
    assert risk_of(100, 10, 20, 200, 3) == pytest.approx(1 - (1 - p) ** 200)


@settings(max_examples=200, deadline=None)
@given(federations(most=200), st.integers(1, 500), st.sampled_from(RISKS))
def test_more_of_what_is_bad_needs_no_smaller_f(federation, rounds, risk):
    population, byzantine, sample = federation
    risk = float(risk)
    f = assumed_byzantine(*federation, rounds, risk)
    assert max(0, sample + byzantine - population) <= f <= min(sample, byzantine)
    assert f <= assumed_byzantine(*federation, rounds + 1, risk)
    assert f <= assumed_byzantine(*federation, rounds, risk / 2)
    assert f >= assumed_byzantine(population + 1, byzantine, sample, rounds, risk)
    if byzantine < population:
        assert f <= assumed_byzantine(population, byzantine + 1, sample, rounds, risk)
    if sample < population:
        assert f <= assumed_byzantine(population, byzantine, sample + 1, rounds, risk) <= f + 1


@pytest.mark.parametrize("byzantine", [0, 1, 10, 100])
def test_a_sample_of_everybody_has_all_of_them(byzantine):
    assert assumed_byzantine(100, byzantine, 100, 5, 1e-3) == byzantine
    assert risk_of(100, byzantine, 100, 5, byzantine) == 0


def test_millions_of_nodes_take_no_time():
    started = time.process_time()
    f = assumed_byzantine(10**6, 10**5, 100, 10_000, 1e-3)
    assert time.process_time() - started < 1
    assert f == 28
    for f, within in ((28, True), (27, False)):
        p = float(exact_risk(10**6, 10**5, 100, 1, f))
        left = risk_of(10**6, 10**5, 100, 10_000, f)
        assert left == pytest.approx(-math.expm1(10_000 * math.log1p(-p)), rel=1e-9)
        assert (left <= 1e-3) == within
    for sample in (10**5, 5 * 10**5):
        f = assumed_byzantine(10**6, 3 * 10**5, sample, 10_000, 1e-3)
        left, below = (risk_of(10**6, 3 * 10**5, sample, 10_000, g) for g in (f, f - 1))
        assert left <= 1e-3 < below < 2e-3


@pytest.mark.parametrize(("name", "value", "words"), [
    ("population", 0, "a whole number of at least 1"),
    ("population", 100.0, "a whole number"),
    ("byzantine", 101, "at most 100, the size of the population"),
    ("byzantine", -1, "a whole number of at least 0"),
    ("byzantine", 0.1, "a whole number"),
    ("sample", 101, "at most 100, the size of the population"),
    ("sample", 0, "a whole number of at least 1"),
    ("sample", True, "a whole number"),
    ("rounds", 0, "a whole number of at least 1"),
    ("rounds", 1.5, "a whole number"),
    *[("risk", risk, "a number above 0 and below 1") for risk in (0, 1, -0.1, 1.5, float("nan"), "1", None)],
])  # fmt: skip
def test_the_impossible_is_said(name, value, words):
    with pytest.raises(ParameterError, match=f"Parameter `{name}` should be {words}"):
        assumed_byzantine(**AS_WHOLE | {name: value})


def test_numbers_of_numpy_are_numbers():
    numbers = {name: np.int32(value) for name, value in AS_WHOLE.items() if name != "risk"}
    assert assumed_byzantine(**numbers, risk=np.float32(1e-3)) == 8
    assert type(assumed_byzantine(**numbers, risk=1e-3)) is int
