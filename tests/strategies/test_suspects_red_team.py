"""Attackers who know the code: up to f of them cannot make others suspects, or send far values for long."""

import math

import numpy as np
import pytest
from cases import gaussian
from flower import FitApi, Sent, every_api, replies_of

from flwr_byzantine.aggregation.gate import Gated, Model
from flwr_byzantine.aggregation.sizes import Origin, measures
from flwr_byzantine.audit import Suspicion
from flwr_byzantine.audit.marks import Mark, Measure, marks
from flwr_byzantine.audit.suspicion import Suspects

D = 300


def unequal(n, seed=0, server_round=1):
    """Honest updates whose lengths differ by a factor of 100."""
    lengths = np.geomspace(0.01, 1.0, n)
    lengths = np.random.default_rng(seed).permutation(lengths)
    return gaussian(n, D, seed=[seed, server_round]) * lengths[:, None]


def play(api, strategy, n, f, attack, rounds=20, seed=0, model=None):
    for server_round in range(1, 1 + rounds):
        api.hand_out(strategy, [np.zeros(D) if model is None else model], server_round)
        x = unequal(n, seed, server_round)
        attack(x[:f], x[f:], server_round)
        api.aggregate(strategy, replies_of(api, x), server_round)
    honest = {str(100 + i) for i in range(f, n)}
    return strategy.suspects & honest, strategy.suspects - honest


def nothing(mine, honest, _):
    mine[:] = 0


def next_to_nothing(mine, honest, _):
    mine[:] = 1e-12


def shortest(mine, honest, _):
    mine[:] = honest[np.argmin(np.linalg.norm(honest, axis=1))]


def longest(mine, honest, _):
    mine[:] = honest[np.argmax(np.linalg.norm(honest, axis=1))]


def mean(mine, honest, _):
    mine[:] = honest.mean(axis=0)


def opposite(mine, honest, _):
    mine[:] = -honest[np.argmax(np.linalg.norm(honest, axis=1))]


def suddenly_nothing(mine, honest, server_round):
    mine[:] = honest[: len(mine)] if server_round < 15 else 0


def some_far(mine, honest, server_round):
    mine[:] = 1e-12
    mine[0] = -1e20


FRAMING = [
    nothing, next_to_nothing, shortest, longest, mean, opposite, suddenly_nothing, some_far,
]  # fmt: skip
SIZES = [("TrimmedMean", 9, 4), ("TrimmedMean", 20, 6), ("Median", 9, 4), ("MultiKrum", 11, 4)]


@every_api
@pytest.mark.parametrize("attack", FRAMING)
@pytest.mark.parametrize(("name", "n", "f"), SIZES)
def test_nobody_honest_is_convicted(api, attack, name, n, f):
    told = {} if name == "Median" else {api.f_name: f}
    for seed in range(3):
        honest, _ = play(api, getattr(api.ours, name)(**told), n, f, attack, seed=seed)
        assert honest == set()


@pytest.mark.parametrize("name", ["TrimmedMean", "Median"])
def test_copies_convict_nobody_where_no_model_was_handed_out(name):
    """One honest client and its copies are a majority. The copies differ from it by very little."""
    api, n, f = FitApi(), 9, 4
    strategy = getattr(api.ours, name)(**({} if name == "Median" else {api.f_name: f}))
    x = 1 + gaussian(n, D)
    for server_round in range(1, 21):
        x[:f] = x[f] + 1e-12 * gaussian(f, D, seed=server_round)
        api.aggregate(strategy, replies_of(api, x), server_round)
    assert strategy.suspects == set()


def test_models_of_another_form_are_not_measured_from_the_last_result():
    """Without a model from the server, most replies determine its form, which can change between rounds."""
    api = FitApi()
    strategy = api.ours.TrimmedMean(num_malicious_clients=2)
    for server_round, d in enumerate([10, 100_000, 10, 7], start=1):
        x = gaussian(7, d, seed=server_round)
        x[0] = -1e20
        api.aggregate(strategy, replies_of(api, x), server_round)
    assert strategy.suspects <= {"100"}


def test_too_few_replies_judge_nobody():
    """Most of the nodes that answer are attackers."""
    api, n, f = FitApi(), 9, 4
    strategy = api.ours.TrimmedMean(num_malicious_clients=f)
    for server_round in range(1, 11):
        api.hand_out(strategy, [np.zeros(D)], server_round)
        x = unequal(n, 0, server_round)
        x[:f] = 1e-12
        replies = replies_of(api, x)[: f + 1]
        api.aggregate(strategy, replies, server_round)
    assert strategy.suspects == set()
    assert strategy.aggregator.last.reason


def test_a_form_of_the_attackers_own_accuses_nobody():
    """No model is known, and most nodes that answer are attackers, so their form is the usual one."""
    api, f = FitApi(), 4
    strategy = api.ours.TrimmedMean(num_malicious_clients=f)
    for server_round in range(1, 11):
        evil = [api.reply(Sent(100 + i, [np.zeros(3)])) for i in range(f)]
        api.aggregate(strategy, [*evil, api.reply(Sent(200, [np.ones(D)]))], server_round)
    assert strategy.suspects == set()


def test_who_converged_does_not_accuse_who_did_not():
    """Perceptrons that make no mistake do not change, so the median change is 0."""
    api = FitApi()
    strategy = api.ours.TrimmedMean(num_malicious_clients=2)
    for server_round in range(1, 30):
        api.hand_out(strategy, [np.ones(D)], server_round)
        x = 1 + gaussian(9, D, seed=server_round) * 0.9**server_round
        if server_round > 10:
            x[:7] = 1
        api.aggregate(strategy, replies_of(api, x), server_round)
    assert strategy.suspects == set()


@every_api
@pytest.mark.parametrize("when", ["every fifth round", "in turn"])
def test_who_attacks_now_and_then_is_convicted(api, when):
    """There are six colluders. All of them attack in every fifth round, or one of them in each round."""
    n, f = 20, 6
    strategy = api.ours.TrimmedMean(**{api.f_name: f})
    for server_round in range(1, 26):
        api.hand_out(strategy, [np.zeros(D)], server_round)
        x = gaussian(n, D, seed=server_round)
        if when == "in turn":
            x[server_round % f] = -1e20
        elif server_round % 5 == 0:
            x[:f] = -1e20
        api.aggregate(strategy, replies_of(api, x), server_round)
    assert strategy.suspects == {str(100 + i) for i in range(f)}


@every_api
def test_who_joins_late_may_move_as_far_as_others_did_at_first(api):
    """Updates shrink to a thousandth while the models learn. Then a node with a new task joins."""
    n, f = 10, 2
    strategy = api.ours.TrimmedMean(**{api.f_name: f})
    for server_round in range(1, 31):
        api.hand_out(strategy, [np.ones(D)], server_round)
        x = gaussian(n, D, seed=server_round) * max(0.6**server_round, 1e-3)
        x[0] = gaussian(1, D, seed=server_round)[0]
        x += 1
        api.aggregate(strategy, replies_of(api, x[0 if server_round > 20 else 1 :]), server_round)
    assert strategy.suspects == set()


def in_a_counter(tensors, i):
    return [*tensors[:2], np.array(2**40)] if i == 0 else tensors


def in_a_statistic(tensors, i):
    return [tensors[0], np.full(4, 1e9, np.float32), tensors[2]] if i == 0 else tensors


def in_a_tiny_tensor(tensors, i):
    return [tensors[0], tensors[1], tensors[2], np.full(1, -1e5, np.float32)] if i == 0 else [
        *tensors, np.full(1, 0.01 * i, np.float32)
    ]  # fmt: skip


@every_api
@pytest.mark.parametrize("hide", [in_a_counter, in_a_statistic, in_a_tiny_tensor])
def test_there_is_no_place_to_hide(api, hide):
    strategy = api.ours.Phocas(**{api.f_name: 2}, buffers=[1])
    model = [np.zeros(D, np.float32), np.ones(4, np.float32), np.array(7)]
    if hide is in_a_tiny_tensor:
        model.append(np.zeros(1, np.float32))
    for server_round in range(1, 4):
        api.hand_out(strategy, model, server_round)
        x = gaussian(7, D, seed=server_round, dtype=np.float32)
        sent = [
            hide([x[i], np.full(4, 1 + 0.1 * i, np.float32), np.array(7 + i)], i) for i in range(7)
        ]
        replies = [api.reply(Sent(100 + i, tensors)) for i, tensors in enumerate(sent)]
        api.aggregate(strategy, replies, server_round)
    assert strategy.suspects == {"100"}


@every_api
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
@pytest.mark.parametrize("value", [3e4, 1e20, 1e200, math.inf, math.nan])
def test_every_type_and_every_value(api, dtype, value):
    strategy = api.ours.Phocas(**{api.f_name: 2})
    for server_round in range(1, 4):
        api.hand_out(strategy, [np.zeros(D, dtype)], server_round)
        x = gaussian(7, D, seed=server_round)
        x[0, 11] = value
        with np.errstate(over="ignore"):
            api.aggregate(strategy, replies_of(api, x.astype(dtype)), server_round)
    assert strategy.suspects == {"100"}


def test_large_counters_of_large_hospitals_are_no_fault():
    api = FitApi()
    strategy = api.ours.Median()
    for server_round in range(1, 6):
        api.hand_out(strategy, [np.zeros(D), np.array(10 * server_round)], server_round)
        x = gaussian(7, D, seed=server_round)
        batches = [10, 10, 10, 10, 10, 10, 1000]
        replies = [
            api.reply(Sent(100 + i, [x[i], np.array(10 * server_round + batches[i])]))
            for i in range(7)
        ]
        api.aggregate(strategy, replies, server_round)
    assert strategy.suspects == set()


def test_absent_rounds_do_not_count():
    """A client that is asked only in some rounds is judged by the rounds in which it took part."""
    api = FitApi()
    strategy = api.ours.Median()
    for server_round in range(1, 60):
        api.hand_out(strategy, [np.zeros(D)], server_round)
        x = gaussian(7, D, seed=server_round)
        x[0] = 1e9
        replies = replies_of(api, x)
        api.aggregate(strategy, replies[server_round % 20 != 1 :], server_round)
    assert strategy.suspects == {"100"}


def test_memory_is_bounded():
    suspects = Suspects(Suspicion())
    for server_round in range(3000):
        suspects.add(server_round, {f"new-{server_round}": Mark(1e9, "far")})
    assert len(suspects.windows) < 1100
    assert not suspects.convicted


def slow_suspects(history, k, r):
    """The suspects, in plain Python, from (client -> reason or None) of every round."""
    found = set()
    for client in {client for judged in history for client in judged}:
        own = [judged[client] for judged in history if client in judged]
        for end in range(1, len(own) + 1):
            if sum(reason is not None for reason in own[max(0, end - r) : end]) >= k:
                found.add(client)
    return found


@pytest.mark.parametrize("seed", range(20))
def test_convictions_are_those_of_plain_python(seed):
    rng = np.random.default_rng(seed)
    k, r = (int(v) for v in sorted(rng.integers(1, 8, 2)))
    suspects, history = Suspects(Suspicion(rounds=k, of=r)), []
    for server_round in range(40):
        judged = {
            str(i): ("far" if rng.random() < 0.1 * i else None)
            for i in range(8)
            if rng.random() < 0.7
        }
        history.append(judged)
        new = suspects.add(server_round, {c: Mark(1.0, reason) for c, reason in judged.items()})
        assert {*suspects.convicted} == slow_suspects(history, k, r)
        assert all(len(evidence.rounds) >= k for evidence in new.values())
        state = suspects.state_dict()
        suspects = Suspects.read(suspects.suspicion, state)
        assert suspects.state_dict() == state


def slow_marks(values, f, largest, factor):
    """Whether each value stands out, in plain Python."""
    finite = [v if math.isfinite(v) else math.inf for v in values]
    usual = max(sorted(finite)[len(values) - f - 1], 0.05 * largest)
    if math.isinf(usual):
        return [False] * len(values)
    return [v / usual > factor for v in finite]


@pytest.mark.parametrize("seed", range(20))
def test_marks_are_those_of_plain_python(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(3, 12))
    f = int(rng.integers(0, (n - 1) // 2 + 1))
    values = 10.0 ** rng.uniform(-3, 3, n)
    values[rng.random(n) < 0.1] = math.nan
    largest = float(10.0 ** rng.uniform(-3, 6))
    measure = Measure("a", "{} times", values, 0.0, 1.0)
    found = marks([str(i) for i in range(n)], [measure], f, {"a": largest}, 20.0)
    assert [m.reason is not None for m in found.values()] == slow_marks(values, f, largest, 20.0)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("scale", [1e-25, 1.0, 1e25])
def test_sizes_are_those_of_numpy(dtype, scale):
    scale = 1.0 if dtype == np.float16 else scale
    rng = np.random.default_rng(1)
    shapes = [(600_000,), (3, 5), (0,), (), (7,)]
    model = Model(
        tuple("abcde"), tuple(np.asarray(scale * rng.normal(size=s), dtype) for s in shapes)
    )
    sent = {
        str(i): tuple(np.asarray(scale * rng.normal(size=s), dtype) for s in shapes)
        for i in range(4)
    }
    found = {m.name: m for m in measures(Gated(model, sent, {}), Origin(model, buffers=(4,)))}
    moved = [
        [a.astype(float) - b.astype(float) for a, b in zip(s, model.arrays, strict=True)]
        for s in sent.values()
    ]
    flat = [np.concatenate([part.ravel() for part in parts[:4]]) for parts in moved]
    np.testing.assert_allclose(found["length"].values, [np.linalg.norm(x) for x in flat], rtol=1e-4)
    np.testing.assert_allclose(found["largest"].values, [abs(x).max() for x in flat], rtol=1e-4)
    buffers = [parts[4] for parts in moved]
    np.testing.assert_allclose(
        found["buffers"].values, [np.linalg.norm(x) for x in buffers], rtol=1e-4
    )


@every_api
def test_one_value_of_a_large_model_beside_decoys(api):
    """One client has long stretches of large values, which are to hide a single large value."""
    d = 100_000
    strategy = api.ours.Phocas(**{api.f_name: 2})
    for server_round in range(1, 4):
        api.hand_out(strategy, [np.zeros(d, np.float32), np.zeros(3, np.float32)], server_round)
        x = gaussian(7, d, seed=server_round, dtype=np.float32) - 1
        x[0, 50_000:70_000] *= 40
        x[0, 12] = 300
        replies = [
            api.reply(Sent(100 + i, [row, np.full(3, 1, np.float32)])) for i, row in enumerate(x)
        ]
        api.aggregate(strategy, replies, server_round)
    assert strategy.suspects == {"100"}
    assert all("one value" in r.stands_out for r in strategy.audit if r.client == "100")


@every_api
@pytest.mark.parametrize("option", [{"on_dropped": "lower_f"}, {"count_failures": True}])
def test_who_lowers_f_still_sees_who_is_far_outside(api, option):
    """A dropped or failed reply of an honest node lowers f, but attackers still stand out."""
    n, f = 10, 3
    strategy = api.ours.TrimmedMean(**{api.f_name: f}, **option)
    for server_round in range(1, 6):
        api.hand_out(strategy, [np.zeros(D)], server_round)
        x = gaussian(n, D, seed=server_round)
        x[:f] = -1e20
        replies = replies_of(api, x)
        old = api.reply(Sent(109, [np.zeros(3)]))
        replies[-1] = old if "on_dropped" in option else api.error(109)
        api.aggregate(strategy, replies, server_round)
    assert {"100", "101", "102"} <= strategy.suspects <= {"100", "101", "102", "109"}
    assert strategy.aggregator.watch.suspects.largest["largest"] < 100


@every_api
def test_a_round_that_fails_for_most_does_not_blind_the_watch(api):
    """In one round, too many nodes fail, and most of those that answer are attackers."""
    n, f = 10, 3
    strategy = api.ours.TrimmedMean(**{api.f_name: f}, count_failures=True)
    for server_round in range(1, 6):
        api.hand_out(strategy, [np.zeros(D)], server_round)
        x = gaussian(n, D, seed=server_round)
        x[:f] = -1e20 if server_round == 1 else -1e10
        replies = replies_of(api, x)
        if server_round == 1:
            replies[5:] = [api.error(100 + i) for i in range(5, n)]
        api.aggregate(strategy, replies, server_round)
    assert strategy.suspects == {"100", "101", "102"}


@every_api
def test_a_round_with_more_attackers_than_f_does_not_blind_the_watch(api):
    """One sampled round holds more than f attackers. Its usual size must not stay the usual size for ever."""
    strategy = api.ours.TrimmedMean(**{api.f_name: 2})
    for server_round in range(1, 10):
        api.hand_out(strategy, [np.zeros(D)], server_round)
        x = gaussian(10, D, seed=server_round)
        x[: 3 if server_round == 2 else 2] = -1e20 if server_round == 2 else -1e10
        api.aggregate(strategy, replies_of(api, x), server_round)
    assert strategy.suspects == {"100", "101"}


@every_api
def test_who_lowers_f_in_vain_accuses_nobody_and_remembers_nothing(api):
    """n = 2f + 1, and the dropped reply was honest. There are more attackers than the lowered f."""
    n, f = 7, 3
    strategy = api.ours.TrimmedMean(**{api.f_name: f}, on_dropped="lower_f")
    for server_round in range(1, 6):
        api.hand_out(strategy, [np.zeros(D)], server_round)
        x = gaussian(n, D, seed=server_round)
        x[:f] = -1e20 if server_round == 1 else -1e10
        replies = replies_of(api, x)
        if server_round == 1:
            replies[-1] = api.reply(Sent(106, [np.zeros(3)]))
        api.aggregate(strategy, replies, server_round)
    assert strategy.suspects == {"100", "101", "102"}
