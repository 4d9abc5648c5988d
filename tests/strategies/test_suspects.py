"""Attackers far outside the honest range become suspects, and honest clients do not."""

import math

import numpy as np
import pytest
from cases import AS_BARE, every_robust_rule, gaussian
from flower import every_api, replies_of, strategy_of

from flwr_byzantine.aggregation.kept_shares import SAMPLE, shares
from flwr_byzantine.audit import Suspicion
from flwr_byzantine.kernels import Columns, Reduction

D = 10_000
FAR = -1e20


def run(api, strategy, rounds, send, model=None):
    """Play rounds of replies. ``send`` makes the updates of a round, and the attackers are the first rows."""
    for server_round in range(1, 1 + rounds):
        if model is not None:
            api.hand_out(strategy, [model], server_round)
        api.aggregate(strategy, replies_of(api, send(server_round)), server_round)
    return strategy.suspects


def ids(number):
    return {str(100 + i) for i in range(number)}


def hiding(n, f, d=D):
    """Colluders that know the sampled coordinates. They send the honest mean there, and -1e20 elsewhere."""

    def send(server_round):
        x = gaussian(n, d, seed=server_round)
        x[:f] = FAR
        step = -(-d // SAMPLE)
        x[:f, ::step] = x[f:, ::step].mean(axis=0)
        return x

    return send


def of(n, f, change, d=D):
    def send(server_round):
        x = gaussian(n, d, seed=server_round)
        change(x[:f], x[f:], server_round)
        return x

    return send


EVASIONS = {"TrimmedMean": (9, 4), "Median": (9, 4), "Phocas": (20, 6)}


@every_api
@pytest.mark.parametrize("name", EVASIONS)
@pytest.mark.parametrize("known", [True, False])
def test_who_behaves_well_in_the_old_sample_is_convicted(api, name, known):
    n, f = EVASIONS[name]
    told = {} if name == "Median" else {api.f_name: f}
    strategy = getattr(api.ours, name)(**told)
    assert run(api, strategy, 20, hiding(n, f), np.zeros(D) if known else None) == ids(f)
    hidden = [r for r in strategy.audit if int(r.client) < 100 + f]
    honest = [r for r in strategy.audit if int(r.client) >= 100 + f]
    assert sum(r.verdict == "kept" for r in hidden) < 0.1 * len(hidden)
    assert sum(r.verdict == "kept" for r in honest) > 0.9 * len(honest)
    assert all(r.stands_out for r in hidden)
    assert not any(r.stands_out or r.suspect for r in honest)


@every_api
@pytest.mark.parametrize("name", ["MultiKrum", "Bulyan"])
def test_copies_frame_nobody(api, name):
    n, f = 15, 3

    def copies(mine, honest, _):
        mine[:] = honest[0]

    strategy = getattr(api.ours, name)(**{api.f_name: f})
    assert run(api, strategy, 20, of(n, f, copies)) == set()
    assert not any(r.stands_out for r in strategy.audit)


def spread_over(mine, honest, _):
    mine[:] = FAR


def one_value(mine, honest, _):
    mine[:] = honest.mean(axis=0)
    mine[:, 7] = -1e6


def nan_in_one(mine, honest, _):
    mine[:] = honest.mean(axis=0)
    mine[:, 7] = math.nan


def huge(mine, honest, _):
    mine[:] = 1e200


ATTACKS = [spread_over, one_value, nan_in_one, huge]


@every_api
@every_robust_rule
@pytest.mark.parametrize("attack", ATTACKS)
def test_every_rule_convicts_all_attackers_and_nobody_else(api, case, attack):
    f, n = (1, max(5, case.enough(1))) if case.takes_f else (2, 7)
    strategy = strategy_of(api, case, f)
    found = run(api, strategy, 3, of(n, f, attack, 50), np.zeros(50))
    assert found == ids(f)
    assert strategy.aggregator.last.metrics["byzantine/num_suspects"] == f


@every_api
def test_a_conviction_takes_k_of_the_last_r(api):
    def sometimes(rounds):
        def change(mine, honest, server_round):
            if server_round in rounds:
                mine[:] = FAR

        return change

    def found(when, **told):
        strategy = api.ours.Median(suspicion=Suspicion(**told) if told else None)
        return run(api, strategy, 25, of(5, 1, sometimes(when), 20), np.zeros(20))

    assert found({1, 5}) == set()
    assert found({1, 5, 25}) == ids(1)
    assert found({1, 5, 10}, of=10) == ids(1)
    assert found({1, 5, 11}, of=10) == set()
    assert found({1, 5}, rounds=2) == ids(1)
    assert found({1, 25}, rounds=2, of=25) == ids(1)
    assert found({1, 25}, rounds=2, of=24) == set()
    assert found({4}, rounds=1, of=1) == ids(1)
    assert found(range(1, 26), factor=1e30) == set()


@every_api
@pytest.mark.parametrize("case", AS_BARE, ids=str)
def test_parts_of_the_result_add_up_and_copies_have_the_same(api, case):
    n = max(9, case.enough(1))
    x = gaussian(n, 40)
    x[1] = x[2] = x[0]
    strategy = strategy_of(api, case, 1)
    api.hand_out(strategy, [np.zeros(40)])
    api.aggregate(strategy, replies_of(api, x))
    used = [record.used for record in strategy.audit]
    assert sum(used) == pytest.approx(1, abs=1e-9 if case.moves is None else 0.2)
    assert used[0] == pytest.approx(used[1])
    assert used[0] == pytest.approx(used[2])


def slow_used(x, reduction):
    """The shares that were used, coordinate by coordinate, in plain Python."""
    n, d = x.shape
    used = np.zeros(n)
    for column in x.T:
        if reduction.keep is None:
            chosen = sorted(column)[reduction.trim : n - reduction.trim]
            place = list(column)
        else:
            center = np.mean(sorted(column)[reduction.trim : n - reduction.trim])
            place = [abs(v - center) for v in column]
            chosen = sorted(place)[: reduction.keep]
        for i in range(n):
            used[i] += chosen.count(place[i]) / place.count(place[i]) / len(chosen) / d
    return used


@pytest.mark.parametrize("reduction", [Reduction(4), Reduction(2), Reduction(2, 7), Reduction(0)])
def test_parts_are_counted_exactly_where_all_coordinates_are_sampled(reduction):
    x = np.random.default_rng(4).integers(0, 4, (9, 100)).astype(np.float64)
    columns = Columns([list(x)], np.dtype(np.float64), 9)
    np.testing.assert_allclose(shares([columns], reduction).used, slow_used(x, reduction))


def test_the_sample_is_another_one_in_every_round():
    x = np.random.default_rng(5).normal(size=(5, 100 * SAMPLE))
    columns = Columns([list(x)], np.dtype(np.float64), 5)
    found = {tuple(shares([columns], Reduction(1)).kept) for _ in range(5)}
    assert len(found) == 5
