"""Optimised LIE and IPM: neither a grid nor another search finds a factor that is much better."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from flwr_byzantine.attacks import InnerProductManipulation, LittleIsEnough, Optimized
from flwr_byzantine.attacks.line_search import largest_at
from flwr_byzantine.attacks.spread import line
from flwr_byzantine.attacks.tried import ByDistances, ByUpdates, objective
from flwr_byzantine.rules import (
    Bulyan,
    CenteredClipping,
    Clipping,
    GeometricMedian,
    Krum,
    Mean,
    Median,
    MinimumDiameterAveraging,
    MultiKrum,
    NearestNeighborMixing,
    Phocas,
    TrimmedMean,
)

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")

F = 5
RULES = [
    *(Krum(F), MultiKrum(F), Median(), TrimmedMean(F), Phocas(F), GeometricMedian()),
    *(NearestNeighborMixing(F) >> Phocas(F), NearestNeighborMixing(F) >> Krum(F), Bulyan(F)),
]
ONE_ROW = [
    *(Krum(F), MultiKrum(F), GeometricMedian(), NearestNeighborMixing(F) >> Krum(F)),
    *(Clipping(3.0) >> Krum(F), MinimumDiameterAveraging(F), Clipping(3.0) >> GeometricMedian()),
]
FAMILIES = {"lie": LittleIsEnough, "ipm": InnerProductManipulation}


def rng(seed=0):
    return np.random.default_rng(seed)


def honest_of(seed, h=18, d=40):
    return rng(seed).normal(size=(h, d)) * rng(seed + 1).uniform(0.3, 2, d) + 0.4


def reached(rule, honest, row):
    result = rule(np.vstack([honest, *[[row]] * F]))
    return np.linalg.norm(result - honest.mean(axis=0))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_a_fine_grid_finds_nothing_much_better(rule, family):
    for seed in (0, 1):
        honest = honest_of(seed)
        sent = Optimized(family, against=rule)(honest, F, rng())
        mu, sigma = honest.mean(axis=0), honest.std(axis=0)
        if family == "lie":
            rows = [mu - z * sigma for z in np.linspace(-6, 6, 401)]
        else:
            rows = [-epsilon * mu for epsilon in np.linspace(-1, 20, 401)]
        best = max(reached(rule, honest, row) for row in rows)
        assert reached(rule, honest, sent[0]) >= 0.98 * best
        little = LittleIsEnough(1.5) if family == "lie" else InnerProductManipulation(0.1)
        assert reached(rule, honest, sent[0]) >= reached(rule, honest, little(honest, 1, rng())[0])


@pytest.mark.parametrize("family", ["std", "mean"])
@pytest.mark.parametrize("rule", ONE_ROW, ids=repr)
def test_distances_alone_tell_what_the_updates_do(rule, family):
    honest = honest_of(3, h=12)
    known = line(honest, family)
    by_distances = objective(rule, honest, F, known)
    assert isinstance(by_distances, ByDistances)
    by_updates = ByUpdates(rule, honest, F, known)
    for t in (-30.0, -2.0, -0.3, 0.0, 0.01, 0.5, 1.0, 3.0, 9.0, 100.0):
        assert by_distances(t) == pytest.approx(by_updates(t), rel=1e-7, abs=1e-9)


def test_other_rules_are_run_on_the_updates():
    honest = honest_of(0)
    for rule in (Median(), Phocas(F), Bulyan(2), Mean(), CenteredClipping(1.0)):
        assert isinstance(objective(rule, honest, F, line(honest, "std")), ByUpdates)


@pytest.fixture(scope="module")
def byzfl():
    peers = str(Path(sys.prefix) / "peers")
    sys.path.append(peers)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = pytest.importorskip("byzfl", exc_type=ImportError)
    yield found
    sys.path.remove(peers)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_the_search_of_byzfl_finds_nothing_better(rule, family, byzfl):
    class Ours:
        def __call__(self, vectors):
            return rule(vectors)

    name = {"lie": "Optimal_ALittleIsEnough", "ipm": "Optimal_InnerProductManipulation"}[family]
    for seed in (4, 5):
        honest = honest_of(seed)
        theirs = getattr(byzfl, name)(agg=Ours(), pre_agg_list=[], f=F)(honest)
        sent = Optimized(family, against=rule)(honest, F, rng())
        assert reached(rule, honest, sent[0]) >= 0.99 * reached(rule, honest, theirs)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_sent_is_of_the_family(family):
    honest = honest_of(1)
    attack = Optimized(family, against=Krum(F))
    factor = attack.factor(honest, F)
    plain = FAMILIES[family](factor)
    np.testing.assert_allclose(attack(honest, F, rng()), plain(honest, F, rng()))
    assert attack(honest, F, rng()).strides[0] == 0


def test_names_classes_and_instances_are_families():
    for given in ("lie", LittleIsEnough, LittleIsEnough(z=3)):
        assert Optimized(given, against=Median()) == Optimized("lie", Median())
    assert Optimized(InnerProductManipulation(), Median()).attack == "ipm"


@pytest.mark.parametrize(("arguments", "name"), [
    ({"attack": "foe"}, "attack"), ({"attack": Krum}, "attack"), ({"attack": None}, "attack"),
    ({"against": Krum}, "against"), ({"against": "krum"}, "against"), ({"evaluations": 2}, "evaluations"),
    ({"largest": 0.5}, "largest"), ({"largest": float("inf")}, "largest"),
    ({"against": NearestNeighborMixing(2)}, "against"),
])  # fmt: skip
def test_parameters_out_of_bounds(arguments, name):
    with pytest.raises(ValueError, match=f"Parameter `{name}` should be"):
        Optimized(**arguments)


def test_rules_that_need_more_updates_are_refused_with_advice():
    attack = Optimized("lie", against=Krum(5))
    with pytest.raises(
        ValueError,
        match=r"`against` should be .* 12 updates .* at least 13\. Let the attackers know more",
    ):
        attack(honest_of(0, h=7), 5, rng())
    with pytest.raises(ValueError, match=r"Pass the rule that the server uses"):
        Optimized("lie")(honest_of(0), 5, rng())


@pytest.mark.parametrize("rule", [Krum(2), Median(), GeometricMedian(), Mean(), TrimmedMean(0.2)])
@pytest.mark.parametrize("honest", [
    np.ones((6, 3)), np.zeros((6, 3)), np.vstack([np.full((1, 3), np.nan), np.eye(6)[:, :3]]),
    np.full((7, 2), np.inf), np.eye(7) * 1e-170, np.eye(7) * 1e160,
])  # fmt: skip
def test_degenerate_updates_do_no_harm(rule, honest):
    for family in FAMILIES:
        attack = Optimized(family, against=rule)
        sent = attack(honest, 2, rng())
        assert np.isfinite(sent).all()
        assert np.isfinite(attack.factor(honest, 2))


def test_no_more_evaluations_than_allowed():
    asked: list[float] = []
    for evaluations in (8, 20, 120):
        asked.clear()
        largest_at(lambda t: asked.append(t) or -((t - 3.3) ** 2), 1e4, evaluations, True)
        assert len(asked) <= evaluations
    assert largest_at(lambda t: -((t - 3.3) ** 2), 1e4, 200, False) == pytest.approx(3.3, abs=0.01)
    assert largest_at(lambda t: t if t <= 2.5 else 0, 1e4, 200, False) == pytest.approx(
        2.5, abs=0.01
    )
    assert largest_at(lambda t: np.nan if t else 1.0, 10, 50, True) == 0


def test_tensors_too():
    torch = pytest.importorskip("torch")
    honest = honest_of(0).astype(np.float32)
    attack = Optimized("ipm", against=Krum(F))
    tensor = torch.from_numpy(honest).requires_grad_()
    sent = attack(tensor, F, rng())
    assert (sent.dtype, sent.requires_grad) == (torch.float32, False)
    np.testing.assert_array_equal(sent.numpy(), attack(honest, F, rng()))
    half = attack(tensor.to(torch.bfloat16), F, rng())
    assert half.dtype == torch.bfloat16
