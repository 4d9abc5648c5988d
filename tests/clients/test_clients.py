"""Wrappers: what they send, and that they change nothing while they are off."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from flwr.client import NumPyClient
from flwr.common import Code, EvaluateIns, FitIns, ndarrays_to_parameters, parameters_to_ndarrays
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from flwr_byzantine.attacks import (
    BitFlip,
    Constant,
    Gambler,
    Gaussian,
    LabelFlip,
    LittleIsEnough,
    Omniscient,
    PutAllFar,
    RandomSignFlip,
    SignFlip,
)
from flwr_byzantine.clients import (
    AttackSchedule,
    ColludingClient,
    CorruptedChannelClient,
    LabelFlippingClient,
    LyingClient,
    MaliciousClient,
    OmniscientClient,
)
from flwr_byzantine.clients.arrays import flatten, unflatten, update_of, with_update
from flwr_byzantine.clients.recompute import RoundCache, fingerprint, recompute
from flwr_byzantine.clients.wrapper import ALWAYS

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")

N = 6
CONFIG = {"server-round": 3}
MODEL = [
    np.array([[1, 2], [3, 4]], dtype=np.float32),
    np.array(7, dtype=np.int64),
    np.array([0.5], dtype=np.float64),
    np.array([True, False]),
]


class Honest(NumPyClient):
    """A user's client. Its update is a function of (client, round), with one value per coordinate."""

    trained = 0  # how often clients trained, over all clients

    def __init__(self, client_id, payload="parameters", label_map=None):
        self.client_id = client_id
        self.payload = payload
        self.labels = np.arange(10) if label_map is None else label_map(np.arange(10))

    def fit(self, parameters, config):
        type(self).trained += 1
        rng = np.random.default_rng((self.client_id, config["server-round"]))
        sent = []
        for p in parameters:
            if not np.issubdtype(p.dtype, np.floating):
                sent.append(p + 1 if p.dtype == np.int64 else ~p)
                continue
            update = rng.normal(size=p.shape).astype(p.dtype) + self.labels[0].astype(p.dtype)
            sent.append(update if self.payload == "gradients" else p + update)
        return sent, 10 + self.client_id, {"partition-id": self.client_id}

    def evaluate(self, parameters, config):
        return 0.25, 4, {"accuracy": 0.5}

    def get_parameters(self, config):
        return MODEL

    def get_properties(self, config):
        return {"id": self.client_id}


def everyone(payload="parameters", schedule=ALWAYS, seed=0):
    """One wrapper of each kind around client 1. Clients 0, 1 and 2 attack."""
    options = {"client_id": 1, "schedule": schedule, "seed": seed}
    make = Honest if payload == "parameters" else lambda i, **kw: Honest(i, payload, **kw)
    return {
        "malicious": MaliciousClient(make(1), Gaussian(), payload=payload, **options),
        "random": MaliciousClient(make(1), RandomSignFlip(), payload=payload, **options),
        "labels": LabelFlippingClient(lambda m: make(1, label_map=m), LabelFlip(), **options),
        "omniscient": OmniscientClient(
            make(1), Omniscient(), make, [0, 1, 2], [3, 4, 5], payload=payload, **options
        ),
        "colluding": ColludingClient(
            make(1), LittleIsEnough(num_clients=N), make, [0, 1, 2], payload=payload, **options
        ),
        "bits": CorruptedChannelClient(make(1), BitFlip(), N, **options),
        "gambler": CorruptedChannelClient(make(1), Gambler(2, probability=0.9), N, **options),
        "lying": LyingClient(make(1), **options),
    }


def same(first, second):
    """Return whether two replies are equal to the last bit."""
    return first[1:] == second[1:] and all(
        a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
        for a, b in zip(first[0], second[0], strict=True)
    )


# While the attack is off, nothing changes.


class Echo(NumPyClient):
    """A client that always returns the same reply."""

    reply = ([np.array([np.nan, -0.0, 1.0], dtype=np.float32)], 5, {"loss": 1.0})

    def fit(self, parameters, config):
        return self.reply


@pytest.mark.parametrize("schedule", [AttackSchedule(start_round=4), AttackSchedule(fraction=0)])
@pytest.mark.parametrize("name", everyone())
def test_off_returns_the_very_objects_of_the_wrapped_client(name, schedule):
    wrapper = everyone(schedule=schedule)[name]
    assert same(wrapper.fit(MODEL, CONFIG), Honest(1).fit(MODEL, CONFIG))
    wrapper.client = Echo()
    reply = wrapper.fit(MODEL, CONFIG)
    assert reply is Echo.reply
    assert reply[0][0] is Echo.reply[0][0]


@pytest.mark.parametrize("payload", ["parameters", "gradients"])
@pytest.mark.parametrize("name", everyone())
def test_on_changes_the_reply(name, payload):
    wrapper = everyone(payload, schedule=AttackSchedule(start_round=3))[name]
    sent = wrapper.fit(MODEL, CONFIG)
    assert not same(sent, Honest(1, payload).fit(MODEL, CONFIG))
    assert sent[1] == (10**12 if name == "lying" else 11)
    assert sent[2] == {"partition-id": 1}


@pytest.mark.parametrize("name", everyone())
def test_integer_and_boolean_tensors_are_sent_as_they_are(name):
    sent, _, _ = everyone()[name].fit(MODEL, CONFIG)
    assert [a.dtype for a in sent] == [a.dtype for a in MODEL]
    assert [a.shape for a in sent] == [a.shape for a in MODEL]
    assert sent[1] == 8
    assert sent[3].tolist() == [False, True]


@pytest.mark.parametrize("name", everyone())
def test_everything_else_is_passed_on(name):
    wrapper = everyone()[name]
    assert wrapper.evaluate(MODEL, {}) == (0.25, 4, {"accuracy": 0.5})
    assert wrapper.get_parameters({}) is MODEL
    assert wrapper.get_properties({}) == {"id": 1}


@pytest.mark.parametrize("name", everyone())
def test_all_is_reproducible_from_seed_client_and_round(name):
    first = everyone()[name].fit(MODEL, CONFIG)
    assert same(first, everyone()[name].fit(MODEL, CONFIG))
    assert not same(first, everyone()[name].fit(MODEL, {"server-round": 4}))


def test_random_choices_differ_by_seed_and_client():
    def sent(client_id, seed):
        options = {"client_id": client_id, "seed": seed}
        return MaliciousClient(Honest(0), Gaussian(), **options).fit(MODEL, CONFIG)

    assert not same(sent(0, 0), sent(1, 0))
    assert not same(sent(0, 0), sent(0, 1))


def test_what_is_received_is_not_changed():
    before = [p.copy() for p in MODEL]
    for wrapper in everyone().values():
        wrapper.fit(MODEL, CONFIG)
    for p, q in zip(MODEL, before, strict=True):
        np.testing.assert_array_equal(p, q)


# Exact values while the attack is on.


def test_malicious_parameters_are_received_plus_malicious_update():
    class AddOne(NumPyClient):
        def fit(self, parameters, config):
            return [p + 1 for p in parameters], 2, {}

    sent, _, _ = MaliciousClient(AddOne(), SignFlip(scale=4)).fit([np.array([5.0, 6.0])], CONFIG)
    np.testing.assert_array_equal(sent, [[1, 2]])
    gradients = MaliciousClient(AddOne(), SignFlip(scale=4), payload="gradients")
    np.testing.assert_array_equal(gradients.fit([np.array([5.0, 6.0])], CONFIG)[0], [[-24, -28]])


def test_a_client_may_train_inside_what_it_receives():
    class InPlace(NumPyClient):
        def fit(self, parameters, config):
            parameters[0] += 1
            return parameters, 2, {}

    sent, _, _ = MaliciousClient(InPlace(), SignFlip()).fit([np.array([5.0])], CONFIG)
    np.testing.assert_array_equal(sent, [[4]])


def test_label_flipping_trains_on_the_mapped_labels():
    sent, _, _ = everyone()["labels"].fit(MODEL, CONFIG)
    honest, _, _ = Honest(1).fit(MODEL, CONFIG)
    # The first label shifts the update of `Honest`. It is 0, which is flipped to 9.
    np.testing.assert_allclose(sent[0] - honest[0], np.full((2, 2), 9), atol=1e-5)


@pytest.mark.parametrize("num_examples", [0, -5, 10**12, 2**63 - 1])
def test_liars_lie_about_nothing_but_their_size(num_examples):
    sent = LyingClient(Honest(1), num_examples).fit(MODEL, CONFIG)
    honest = Honest(1).fit(MODEL, CONFIG)
    assert same((sent[0], honest[1], sent[2]), honest)
    assert sent[1] == num_examples


def test_wrappers_go_around_each_other():
    liar = LyingClient(MaliciousClient(Honest(1), SignFlip()), -1)
    sent, num_examples, _ = liar.fit(MODEL, CONFIG)
    honest, _, _ = Honest(1).fit(MODEL, CONFIG)
    np.testing.assert_allclose(sent[0] + honest[0], 2 * MODEL[0], atol=1e-5)
    assert num_examples == -1


def test_a_bit_flipping_channel_hits_each_coordinate_of_one_client():
    options = {"seed": 5, "schedule": AttackSchedule(start_round=2)}
    wrapped = [
        CorruptedChannelClient(Honest(i), BitFlip(), N, client_id=i, **options) for i in range(N)
    ]
    sent = np.array([flatten(client.fit(MODEL, CONFIG)[0]) for client in wrapped])
    honest = np.array([flatten(Honest(i).fit(MODEL, CONFIG)[0]) for i in range(N)])
    np.testing.assert_array_equal((sent != honest).sum(axis=0), np.ones(5))


# Attackers that know the updates of others.


def honest_updates(clients, payload, received=MODEL, config=CONFIG):
    """Return the updates of honest clients: what they send, minus what they received."""
    sent = [Honest(i, payload).fit([p.copy() for p in received], config)[0] for i in clients]
    return np.stack([update_of(s, received, payload) for s in sent])


@pytest.mark.parametrize("payload", ["parameters", "gradients"])
def test_the_recomputation_is_what_the_honest_clients_send(payload):
    known = recompute(lambda i: Honest(i, payload), [3, 4, 5], MODEL, CONFIG, payload)
    assert known.tobytes() == honest_updates([3, 4, 5], payload).tobytes()


@pytest.mark.parametrize("kind", ["omniscient", "colluding"])
def test_attackers_are_given_the_updates_they_know_and_send_a_row_each(kind):
    given_to = []

    def attack(known, num_attackers, rng):
        given_to.append(known)
        return np.arange(num_attackers * known.shape[1], dtype=float).reshape(num_attackers, -1)

    for rank, client_id in enumerate([1, 2, 5]):
        options = {"client_id": client_id, "payload": "gradients"}
        make = make_gradients
        if kind == "omniscient":
            client = OmniscientClient(
                make(client_id), attack, make, {5, 1, 2}, {4, 0, 3}, **options
            )
        else:
            client = ColludingClient(make(client_id), attack, make, {5, 1, 2}, **options)
        sent, _, _ = client.fit(MODEL, CONFIG)
        np.testing.assert_array_equal(flatten(sent), np.arange(5) + 5 * rank)
    known = [0, 3, 4] if kind == "omniscient" else [1, 2, 5]
    (once,) = given_to  # three attackers of one process share the recomputation
    assert once.tobytes() == honest_updates(known, "gradients").tobytes()


def make_gradients(client_id):
    return Honest(client_id, "gradients")


def test_the_recomputation_happens_once_per_round():
    Honest.trained = 0
    scope = "once per round"
    for server_round in (1, 2):
        for i in (0, 1, 2):
            client = OmniscientClient(
                Honest(i), PutAllFar(), lambda k: Honest(k), [0, 1, 2], [3, 4, 5],
                client_id=i, scope=scope,
            )  # fmt: skip
            client.fit(MODEL, {"server-round": server_round})
    assert Honest.trained == 2 * (3 + 3)  # three attackers, and three honest clients


def test_scopes_models_and_seeds_are_told_apart():
    class Other(Honest):
        def fit(self, parameters, config):
            sent, num_examples, metrics = super().fit(parameters, config)
            return [s * 2 if s.dtype.kind == "f" else s for s in sent], num_examples, metrics

    def sent(make=Honest, model=MODEL, known=(3, 4), **options):
        client = OmniscientClient(Honest(0), PutAllFar(), make, [0], known, client_id=0, **options)
        return client.fit(model, CONFIG)

    first = sent()
    assert same(first, sent())
    assert not same(first, sent(make=Other))
    assert not same(first, sent(known=(3,)))
    moved = [MODEL[0] + 1, *MODEL[1:]]
    assert not same(first, sent(model=moved))
    np.testing.assert_allclose(
        update_of(sent(make=Other, scope="other")[0], MODEL, "parameters"),
        recompute(Other, [3, 4], MODEL, CONFIG, "parameters").mean(axis=0) + 100,
        rtol=1e-5,
    )


def test_little_is_enough_among_colluders_uses_their_own_updates():
    sent, _, _ = everyone("gradients")["colluding"].fit(MODEL, CONFIG)
    own = honest_updates([0, 1, 2], "gradients")
    z = LittleIsEnough().deviations(N, 3)
    np.testing.assert_allclose(flatten(sent), own.mean(axis=0) - z * own.std(axis=0), rtol=1e-6)


def test_omniscient_attackers_send_the_negative_sum():
    sent, _, _ = everyone("gradients")["omniscient"].fit(MODEL, CONFIG)
    known = honest_updates([3, 4, 5], "gradients")
    np.testing.assert_allclose(flatten(sent), -1e20 * known.sum(axis=0), rtol=1e-6)


def test_the_cache_forgets_all_but_the_last():
    cache, computed = RoundCache(size=2), []

    def get(key):
        return cache.get(key, lambda: computed.append(key) or np.array([key]))

    assert [get(key)[0] for key in (1, 2, 2, 3, 3, 1)] == [1, 2, 2, 3, 3, 1]
    assert computed == [1, 2, 3, 1]


def test_fingerprints_differ_where_anything_sent_differs():
    empty = [np.empty((0, 3), dtype=np.float16)]
    sent = [
        (MODEL, {"server-round": 1}),
        (MODEL, {"server-round": 2}),
        ([MODEL[0].T, *MODEL[1:]], {"server-round": 1}),
        ([MODEL[0].ravel(), *MODEL[1:]], {"server-round": 1}),
        (MODEL[:3], {"server-round": 1}),
        (empty, {"server-round": 1}),
    ]
    assert len({fingerprint(*each) for each in sent}) == len(sent)


# Schedules.


@given(st.integers(0, 20), st.integers(0, 30), st.integers(0, 5))
def test_schedules_start_and_can_be_always_or_never_on(start, server_round, seed):
    assert AttackSchedule(start_round=start).is_on(server_round, seed) == (server_round >= start)
    assert not AttackSchedule(start, fraction=0).is_on(server_round, seed)


def test_schedules_are_on_for_their_fraction_of_rounds():
    half = AttackSchedule(fraction=0.25)
    rounds = [half.is_on(r, 0) for r in range(1, 4001)]
    assert np.mean(rounds) == pytest.approx(0.25, abs=0.03)
    assert rounds == [half.is_on(r, 0) for r in range(1, 4001)]
    assert rounds != [half.is_on(r, 1) for r in range(1, 4001)]


def test_local_attackers_toss_their_own_coins_and_colluders_one():
    half = AttackSchedule(fraction=0.5)

    def on(client):
        honest = Honest(client.client_id)
        rounds = [{"server-round": r} for r in range(1, 31)]
        return [not same(client.fit(MODEL, c), honest.fit(MODEL, c)) for c in rounds]

    alone = [MaliciousClient(Honest(i), Constant(), client_id=i, schedule=half) for i in (0, 1)]
    assert on(alone[0]) != on(alone[1])
    together = [
        ColludingClient(Honest(i), PutAllFar(), Honest, [0, 1], client_id=i, schedule=half)
        for i in (0, 1)
    ]
    assert on(together[0]) == on(together[1])
    assert True in on(together[0])
    assert False in on(together[0])


# Clients and wrappers inside Flower.


def test_flower_sees_the_methods_of_the_wrapped_client_and_no_others():
    class OnlyFit(NumPyClient):
        def fit(self, parameters, config):
            return [p + 1 for p in parameters], 2, {}

    class OnlyEvaluate(NumPyClient):
        def evaluate(self, parameters, config):
            return 0.5, 1, {}

    client = LyingClient(MaliciousClient(OnlyFit(), SignFlip()), 9).to_client()
    reply = client.fit(FitIns(ndarrays_to_parameters([np.array([5.0])]), dict(CONFIG)))
    np.testing.assert_array_equal(parameters_to_ndarrays(reply.parameters), [[4]])
    assert reply.num_examples == 9
    ask = EvaluateIns(ndarrays_to_parameters([np.array([5.0])]), {})
    plain = OnlyFit().to_client()
    assert type(client).evaluate is type(plain).evaluate  # Flower's own method, which means "none"
    other = MaliciousClient(OnlyEvaluate(), SignFlip()).to_client()
    assert other.evaluate(ask).status.code == Code.OK
    assert type(other).fit is type(OnlyEvaluate().to_client()).fit is type(other).__mro__[1].fit


def test_a_to_client_of_the_users_own_still_attacks():
    class Own(NumPyClient):
        def fit(self, parameters, config):
            return [p + 1 for p in parameters], 2, {}

        def to_client(self):
            class Bare:
                pass

            return Bare()

    client = MaliciousClient(Own(), SignFlip()).to_client()
    reply = client.fit(FitIns(ndarrays_to_parameters([np.array([5.0])]), dict(CONFIG)))
    np.testing.assert_array_equal(parameters_to_ndarrays(reply.parameters), [[4]])


# Flattening.

MODELS = st.lists(
    st.one_of(
        arrays(np.float32, array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)),
        arrays(np.int64, array_shapes(min_dims=0, max_dims=2, max_side=3)),
        arrays(np.float64, array_shapes(min_dims=0, max_dims=2, max_side=3)),
        arrays(np.bool_, array_shapes(min_dims=0, max_dims=1, max_side=3)),
    ),
    max_size=5,
)


@given(MODELS)
def test_unflatten_undoes_flatten(model):
    again = unflatten(flatten(model), model)
    for p, q in zip(model, again, strict=True):
        assert (p.dtype, p.shape) == (q.dtype, q.shape)
        np.testing.assert_array_equal(p, q)
        assert p is q if p.dtype.kind in "ib" else not np.shares_memory(p, q)


@given(MODELS)
def test_with_update_undoes_update_of_for_gradients(model):
    sent = with_update(update_of(model, MODEL, "gradients"), model, MODEL, "gradients")
    for p, q in zip(model, sent, strict=True):
        np.testing.assert_array_equal(p, q)


def test_a_model_without_floats_has_an_empty_update():
    model = [np.array([1, 2])]
    sent, _, _ = MaliciousClient(Honest(0), SignFlip()).fit(model, CONFIG)
    np.testing.assert_array_equal(sent, [[2, 3]])


# Errors that say what to do.


def test_gradients_taken_for_parameters_are_refused():
    class Short(NumPyClient):
        def fit(self, parameters, config):
            return parameters[:1], 1, {}

    with pytest.raises(ValueError, match="payload='gradients'"):
        MaliciousClient(Short(), SignFlip()).fit(MODEL, CONFIG)


def test_an_attack_of_the_wrong_size_is_refused():
    with pytest.raises(ValueError, match=r"Parameter `update` should be of shape \(5,\)"):
        MaliciousClient(Honest(0), lambda own, rng: own[:2]).fit(MODEL, CONFIG)


@pytest.mark.parametrize("key", ["server-round", "server_round", "round", "current_round"])
def test_the_round_may_have_several_names(key):
    client = MaliciousClient(Echo(), Gaussian(), payload="gradients")
    sent, _, _ = client.fit(MODEL, {key: 3})
    expected, _, _ = client.fit(MODEL, CONFIG)
    np.testing.assert_array_equal(sent[0], expected[0])


def test_an_attack_that_needs_no_round_works_without_one():
    for config in ({}, {"lr": 0.1}, {"round": "first"}):
        sent, _, _ = MaliciousClient(Echo(), SignFlip(), payload="gradients").fit(MODEL, config)
        np.testing.assert_array_equal(sent[0], -Echo.reply[0][0])
        assert LyingClient(Echo(), -3).fit(MODEL, config)[1] == -3
    colluding = ColludingClient(
        Echo(), Omniscient(), lambda client_id: Echo(), [0], client_id=0, payload="gradients"
    )
    sent, _, _ = colluding.fit(MODEL, {})
    assert sent[0][-1] == np.float32(-1e20) * Echo.reply[0][0][-1]


@pytest.mark.parametrize(
    "make",
    [
        lambda: MaliciousClient(Echo(), Gaussian(), payload="gradients"),
        lambda: MaliciousClient(Echo(), SignFlip(), schedule=AttackSchedule(start_round=2)),
        lambda: LyingClient(Echo(), schedule=AttackSchedule(fraction=0.5)),
        lambda: CorruptedChannelClient(Echo(), BitFlip(), 1, client_id=0),
    ],
)
def test_what_needs_the_round_says_so(make):
    with pytest.raises(
        ValueError, match=r"`server-round`. Found the keys \['lr'\].*on_fit_config_fn"
    ):
        make().fit(MODEL, {"lr": 0.1})


@pytest.mark.parametrize(("attack", "wrapper"), [
    (Omniscient(), "OmniscientClient"), (BitFlip(), "CorruptedChannelClient"),
    (LabelFlip(), "LabelFlippingClient"),
])  # fmt: skip
def test_attacks_in_the_wrong_wrapper_are_refused(attack, wrapper):
    with pytest.raises(ValueError, match=wrapper):
        MaliciousClient(Honest(0), attack)


@pytest.mark.parametrize(("name", "build"), [
    ("client_id", lambda: MaliciousClient(Honest(0), SignFlip(), client_id=-1)),
    ("seed", lambda: MaliciousClient(Honest(0), SignFlip(), seed=-1)),
    ("payload", lambda: MaliciousClient(Honest(0), SignFlip(), payload="weights")),
    ("start_round", lambda: AttackSchedule(start_round=-1)),
    ("start_round", lambda: AttackSchedule(start_round=1.5)),
    ("fraction", lambda: AttackSchedule(fraction=1.5)),
    ("fraction", lambda: AttackSchedule(fraction="half")),
    ("num_examples", lambda: LyingClient(Honest(0), 2**63)),
    ("num_examples", lambda: LyingClient(Honest(0), 1e12)),
    ("client_id", lambda: CorruptedChannelClient(Honest(6), BitFlip(), N, client_id=6)),
    ("attackers", lambda: ColludingClient(Honest(0), PutAllFar(), Honest, [1], client_id=0)),
    ("attackers", lambda: ColludingClient(Honest(0), PutAllFar(), Honest, [], client_id=0)),
    ("attackers", lambda: ColludingClient(Honest(0), PutAllFar(), Honest, [0, -1], client_id=0)),
    ("honest", lambda: OmniscientClient(Honest(0), PutAllFar(), Honest, [0], [0, 1], client_id=0)),
    ("honest", lambda: OmniscientClient(Honest(0), PutAllFar(), Honest, [0], [], client_id=0)),
])  # fmt: skip
def test_parameters_out_of_bounds_are_refused(name, build):
    with pytest.raises(ValueError, match=rf"Parameter `{name}` should be .*Found `{name} = "):
        build()


def test_the_wrappers_and_the_maths_import_neither_torch_nor_ray():
    code = (
        "import sys, flwr_byzantine.clients; assert not {'torch', 'ray'} & set(sys.modules)\n"
        "import flwr_byzantine.attacks; assert not {'torch', 'ray'} & set(sys.modules), 'attacks'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
