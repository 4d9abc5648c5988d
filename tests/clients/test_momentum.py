"""Worker momentum as a wrapper and as a mod: the mean over the rounds, and tensors without momentum."""

from __future__ import annotations

import numpy as np
import pytest
from flwr.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Context,
    Error,
    Message,
    MetricRecord,
    RecordDict,
)
from flwr.app.metadata import Metadata
from flwr.client import NumPyClient
from flwr.clientapp import ClientApp
from flwr.common import Code, FitIns, ndarrays_to_parameters, parameters_to_ndarrays
from flwr.common.serde import context_from_proto, context_to_proto
from flwr.compat.common.recorddict_compat import fitins_to_recorddict, recorddict_to_fitres

from flwr_byzantine.attacks import PutAllFar, SignFlip
from flwr_byzantine.clients import (
    ColludingClient,
    MaliciousClient,
    MomentumClient,
    attack_mod,
    momentum_mod,
    serve_both_apis,
)

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")

NAMES = ("conv.weight", "bn.running_var", "bn.num_batches_tracked", "head.weight")
MODEL = (
    np.array([[1, 2], [3, 4]], np.float32),
    np.array([1.0, 2.0], np.float32),
    np.array(7, np.int64),
    np.array([0.5], np.float64),
)
ROUNDS = 5


def step(server_round, position, array):
    """A round's update of one tensor. It comes from a generator of its own."""
    rng = np.random.default_rng((server_round, position))
    return rng.normal(size=array.shape).astype(array.dtype)


def train(parameters, server_round, payload="parameters"):
    """Move each floating-point tensor by the round's step, and increase the counters."""
    return [
        np.asarray(p + np.int64(1))
        if p.dtype.kind == "i"
        else np.asarray(step(server_round, i, p) + (p if payload == "parameters" else 0))
        for i, p in enumerate(parameters)
    ]


class Trainer(NumPyClient):
    def __init__(self, payload="parameters"):
        self.payload = payload

    def fit(self, parameters, config):
        sent = train(parameters, config["server-round"], self.payload)
        for p in parameters:  # a client may train in place, in the arrays that it is given
            p[...] = 0
        return sent, 10, {"partition-id": 3}

    def evaluate(self, parameters, config):
        return 0.5, 4, {"accuracy": 0.25}


def model_of(server_round):
    """What the server sends in a round: another model each time."""
    return [np.array(p) if p.dtype.kind == "i" else p * server_round for p in MODEL]


def reference(payload, beta, rounds=range(1, ROUNDS + 1), plain=(1, 2)):
    """What is sent in each round, by a plain loop. Tensors at the `plain` positions have no momentum."""
    momentum, sent = None, []
    for t in rounds:
        model = model_of(t)
        returned = train(model, t, payload)
        start = [np.zeros_like(p) if payload == "gradients" else p for p in model]
        update = [r - s for r, s in zip(returned, start, strict=True)]
        momentum = (
            update
            if momentum is None
            else [beta * m + (1 - beta) * u for m, u in zip(momentum, update, strict=True)]
        )
        sent.append(
            [r if i in plain else s + m
             for i, (r, s, m) in enumerate(zip(returned, start, momentum, strict=True))]
        )  # fmt: skip
    return sent


def context_of(**node_config):
    return Context(1, 2, {"partition-id": 3, **node_config}, RecordDict(), {})


def by_wrapper(payload, beta, rounds, kept=True):
    """The rounds of a wrapper. With a context it is built anew in each round, and without one only once."""
    context = context_of()
    once = MomentumClient(Trainer(payload), beta, payload=payload, buffers=[1])
    for t in rounds:
        client = once
        if kept:
            client = MomentumClient(
                Trainer(payload), beta, context=context, payload=payload, buffers=[1]
            )
        sent, num_examples, metrics = client.fit(model_of(t), {"server-round": t})
        assert (num_examples, metrics) == (10, {"partition-id": 3})
        yield sent


def metadata_of(message_type):
    return Metadata(
        run_id=1, message_id="m", src_node_id=1, dst_node_id=2, reply_to_message_id="",
        group_id="1", created_at=0.0, ttl=1e12, message_type=message_type,
        src_task_id=None, dst_task_id=None,
    )  # fmt: skip


def message_of(arrays, server_round, message_type="train"):
    config = ConfigRecord({"server-round": server_round})
    content = RecordDict({"arrays": arrays, "config": config})
    return Message(content, metadata=metadata_of(message_type))


def app_of(payload, mods, answer=None):
    """An app of the Message API that trains like `Trainer`."""
    app = ClientApp(mods=mods)

    @app.train()
    @app.evaluate()
    def action(msg, ctxt):
        arrays = msg.content["arrays"]
        model = [array.numpy() for array in arrays.values()]
        sent = train(model, msg.content["config"]["server-round"], payload)
        record = ArrayRecord(dict(zip(arrays, map(Array, sent), strict=True)))
        metrics = MetricRecord({"num-examples": 10, "loss": 0.5})
        content = RecordDict({"arrays": record, "metrics": metrics, "more": ConfigRecord({"a": 1})})
        reply = Message(content, reply_to=msg)
        return reply if answer is None else answer(msg, reply)

    return app


def named(model):
    return ArrayRecord(dict(zip(NAMES, map(Array, model), strict=True)))


def by_mod(payload, beta, rounds):
    """The rounds of an app of the Message API. The tensors' names tell which tensor is a buffer."""
    context = context_of()
    for t in rounds:
        app = app_of(payload, [momentum_mod(beta, payload=payload)])
        reply = app(message_of(named(model_of(t)), t), context)
        assert list(reply.content["arrays"]) == list(NAMES)
        assert dict(reply.content["metrics"]) == {"num-examples": 10, "loss": 0.5}
        assert dict(reply.content["more"]) == {"a": 1}
        yield [array.numpy() for array in reply.content["arrays"].values()]


def by_mod_of_both(payload, beta, rounds):
    """The rounds of an app of NumPyClients that serves the Message API."""
    context = context_of()
    mods = [momentum_mod(beta, payload=payload), serve_both_apis]
    for t in rounds:
        app = ClientApp(lambda _: Trainer(payload).to_client(), mods=mods)
        reply = app(message_of(named(model_of(t)), t), context)
        yield [array.numpy() for array in reply.content["arrays"].values()]


def by_mod_of_legacy(payload, beta, rounds):
    """The rounds of the `aggregate_fit` API."""
    context = context_of()
    mod = momentum_mod(beta, payload=payload, buffers=[1])
    for t in rounds:
        app = ClientApp(lambda _: Trainer(payload).to_client(), mods=[mod])
        ins = FitIns(ndarrays_to_parameters(model_of(t)), {"server-round": t})
        content = fitins_to_recorddict(ins, keep_input=True)
        reply = app(Message(content, metadata=metadata_of("train")), context)
        result = recorddict_to_fitres(reply.content, keep_input=True)
        assert (result.num_examples, result.metrics) == (10, {"partition-id": 3})
        yield parameters_to_ndarrays(result.parameters)


def without_context(payload, beta, rounds):
    """The rounds of a client that is built only once."""
    return by_wrapper(payload, beta, rounds, kept=False)


WAYS = [by_wrapper, without_context, by_mod, by_mod_of_both, by_mod_of_legacy]


@pytest.mark.parametrize("beta", [0.9, 0.5, 0])
@pytest.mark.parametrize("payload", ["parameters", "gradients"])
@pytest.mark.parametrize("way", WAYS)
def test_every_way_sends_what_a_plain_loop_does(way, payload, beta):
    expected = reference(payload, beta)
    for t, sent in enumerate(way(payload, beta, range(1, ROUNDS + 1))):
        for got, wanted, p in zip(sent, expected[t], MODEL, strict=True):
            assert (got.dtype, got.shape) == (p.dtype, p.shape)
            np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)
    assert t == ROUNDS - 1


@pytest.mark.parametrize("way", WAYS)
def test_a_round_without_the_client_changes_nothing(way):
    expected = reference("parameters", 0.9, (1, 2, 7))
    for sent, wanted in zip(way("parameters", 0.9, (1, 2, 7)), expected, strict=True):
        for a, b in zip(sent, wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


class Sends(NumPyClient):
    """A client whose updates are given. It sends the model plus the next update, or the update itself."""

    def __init__(self, updates, payload="parameters"):
        self.updates, self.payload = iter(updates), payload

    def fit(self, parameters, config):
        update = next(self.updates)
        if self.payload == "gradients":
            return [np.array(u) for u in update], 1, {}
        return [p + u for p, u in zip(parameters, update, strict=True)], 1, {}


def test_by_hand():
    # u = 8, 4, -12 and beta = 1/2: m = 8, (8 + 4) / 2 = 6, (6 - 12) / 2 = -3
    for payload, start in (("parameters", 100.0), ("gradients", 0.0)):
        client = MomentumClient(Sends([[8.0], [4.0], [-12.0]], payload), 0.5, payload=payload)
        sent = [client.fit([np.full(1, 100.0)], {})[0][0].item() for _ in range(3)]
        assert sent == [start + 8, start + 6, start - 3]


def test_the_first_answer_is_the_very_one_of_the_client():
    answer = ([MODEL[0]], 3, {"a": 1})

    class Says(NumPyClient):
        def fit(self, parameters, config):
            return answer

    assert MomentumClient(Says()).fit([MODEL[0]], {}) is answer


def test_the_spread_of_noise_shrinks_as_the_formula_says():
    # A long mean of independent noise has (1 - beta) / (1 + beta) of the variance of one value.
    rng = np.random.default_rng(0)
    client = MomentumClient(
        Sends([[rng.normal(size=4000)] for _ in range(60)], "gradients"), payload="gradients"
    )
    for _ in range(60):
        sent, _, _ = client.fit([np.zeros(4000)], {})
    assert np.var(sent[0]) == pytest.approx(0.1 / 1.9, rel=0.1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_bad_round_is_sent_as_it_is_and_forgotten(bad, caplog):
    updates = [[np.array([1.0, 1.0])], [np.array([bad, 5.0])], [np.array([3.0, 3.0])]]
    client = MomentumClient(Sends(updates, "gradients"), 0.5, payload="gradients")
    sent = [client.fit([np.zeros(2)], {})[0][0] for _ in range(3)]
    np.testing.assert_array_equal(sent[1], updates[1][0])
    np.testing.assert_array_equal(sent[2], [2.0, 2.0])
    assert "not finite" in caplog.text


def test_a_first_round_that_is_bad_leaves_no_momentum():
    client = MomentumClient(Sends([[np.nan], [4.0], [8.0]]), 0.5)
    sent = [client.fit([np.zeros(1)], {})[0][0].item() for _ in range(3)]
    assert np.isnan(sent[0])
    assert sent[1:] == [4, 6]


def test_another_model_starts_anew_with_a_warning(caplog):
    class Adds(NumPyClient):
        def fit(self, parameters, config):
            return [p + config["step"] for p in parameters], 1, {}

    client = MomentumClient(Adds(), 0.5)
    for shapes in ([(2,)], [(3,)], [(3,), (1,)]):
        caplog.clear()
        model = [np.zeros(shape) for shape in shapes]
        assert client.fit(model, {"step": 8})[0][0].tolist() == [8] * shapes[0][0]
        assert client.fit(model, {"step": 4})[0][0].tolist() == [6] * shapes[0][0]
        assert ("starts anew" in caplog.text) is (shapes != [(2,)])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_answer_has_the_dtype_that_the_client_returned(dtype):
    client = MomentumClient(Sends([[dtype(1)]] + [[dtype(0)]] * 50), 0.9)
    for _ in range(51):
        sent, _, _ = client.fit([np.zeros(1, dtype)], {})
    assert sent[0].dtype == dtype
    # In float16 the rounding of fifty rounds would add up, so the momentum is float32.
    np.testing.assert_allclose(sent[0], 0.9**50, rtol=1e-3)
    (state,) = client.state.array_records.values()
    assert state["0"].numpy().dtype == np.result_type(dtype, np.float32)


def test_another_precision_or_beta_goes_on_from_the_same_momentum():
    context = context_of()
    sends = Sends([[np.float32(8)], [4.0], [-12.0]])
    for dtype, beta, expected in ((np.float32, 0.9, 8), (np.float64, 0.5, 6), (np.float32, 0, -12)):
        client = MomentumClient(sends, beta, context=context)
        sent, _, _ = client.fit([np.zeros(1, dtype)], {})
        assert sent[0].item() == expected


def test_momentum_of_gradients_and_of_updates_are_apart():
    context = context_of()
    MomentumClient(Sends([[8.0]]), 0.5, context=context).fit([np.zeros(1)], {})
    gradients = MomentumClient(
        Sends([[np.full(1, -4.0)]], "gradients"), 0.5, context=context, payload="gradients"
    )
    assert gradients.fit([np.zeros(1)], {})[0][0].item() == -4


def test_the_state_outlives_the_process_of_a_client():
    context = context_of()
    MomentumClient(Sends([[8.0]]), 0.5, context=context).fit([np.zeros(1)], {})
    context = context_from_proto(context_to_proto(context))  # as a SuperNode sends it
    client = MomentumClient(Sends([[4.0]]), 0.5, context=context)
    assert client.fit([np.zeros(1)], {})[0][0].item() == 6


def test_buffers_by_their_names_by_position_or_by_a_function():
    updates = [[np.full(1, 8.0)] * 3, [np.full(1, 4.0)] * 3]
    names = ["w", "a.running_mean", "b.statistic"]

    def last(buffers):
        client = Sends(updates)
        app, context = ClientApp(mods=[momentum_mod(0.5, buffers=buffers)]), context_of()

        @app.train()
        def action(msg, ctxt):
            sent = client.fit(msg.content["arrays"].to_numpy_ndarrays(), {})[0]
            record = ArrayRecord(dict(zip(names, map(Array, sent), strict=True)))
            return Message(RecordDict({"arrays": record}), reply_to=msg)

        for t in (1, 2):
            model = ArrayRecord({name: Array(np.zeros(1)) for name in names})
            reply = app(message_of(model, t), context)
        return [array.numpy().item() for array in reply.content["arrays"].values()]

    assert last(None) == [6, 4, 6]
    assert last(()) == [6, 6, 6]
    assert last([0, "b.statistic"]) == [4, 6, 4]
    assert last(lambda name: name.startswith("b.")) == [6, 6, 4]
    with pytest.raises(ValueError, match="should name tensors of the model"):
        last(["no.such"])


@pytest.mark.parametrize("names", [("b", "a"), ("c", "d")])
def test_tensors_that_return_in_another_order_are_told_by_their_names(names):
    context, sent = context_of(), []
    app = ClientApp(mods=[momentum_mod(0.5)])

    @app.train()
    def action(msg, ctxt):
        step = msg.content["config"]["server-round"]
        model = {name: array.numpy() for name, array in msg.content["arrays"].items()}
        if set(names) == set(model):
            model = {name: model[name] for name in names}
        record = {name: Array(p + step) for name, p in zip(names, model.values(), strict=True)}
        return Message(RecordDict({"arrays": ArrayRecord(record)}), reply_to=msg)

    for t in (1, 3):
        model = ArrayRecord({"a": Array(np.zeros(1)), "b": Array(np.full(2, 100.0))})
        sent = app(message_of(model, t), context).content["arrays"]
    assert tuple(sent) == names
    assert sorted(array.numpy().tolist() for array in sent.values()) == [[2], [102, 102]]


def test_statistics_that_names_do_not_tell_are_pointed_out_once(caplog):
    client = MomentumClient(Trainer())
    client.fit(model_of(1), {"server-round": 1})
    assert "Pass `buffers=`" in caplog.text
    caplog.clear()
    client.fit(model_of(2), {"server-round": 2})
    assert caplog.text == ""
    MomentumClient(Trainer(), buffers=[1]).fit(model_of(1), {"server-round": 1})
    assert caplog.text == ""


def test_a_client_that_is_built_anew_without_a_context_is_pointed_out(caplog):
    for config in ({"server-round": 1}, {}):
        MomentumClient(Sends([[1.0]])).fit([np.zeros(1)], config)
    MomentumClient(Sends([[1.0]]), context=context_of()).fit([np.zeros(1)], {"server-round": 2})
    assert caplog.text == ""
    MomentumClient(Sends([[1.0]])).fit([np.zeros(1)], {"server-round": 2})
    assert "pass `context`" in caplog.text


def test_errors_and_other_messages_pass():
    mods, context = [momentum_mod()], context_of()
    made = []

    def remember(msg, reply):
        made.append(reply)
        return reply

    def fail(msg, reply):
        return Message(Error(9, "no data"), reply_to=msg)

    def empty(msg, reply):
        return Message(RecordDict({"metrics": MetricRecord({"a": 1})}), reply_to=msg)

    arrays = named(model_of(1))
    reply = app_of("parameters", mods, remember)(message_of(arrays, 1, "evaluate"), context)
    assert reply is made[-1]
    assert app_of("parameters", mods, fail)(message_of(arrays, 1), context).error.code == 9
    reply = app_of("parameters", mods, empty)(message_of(arrays, 1), context)
    assert list(reply.content) == ["metrics"]
    assert not context.state
    reply = app_of("parameters", mods, remember)(message_of(arrays, 1), context)
    assert reply is made[-1]
    assert len(context.state) == 1


def test_what_a_client_lacks_it_lacks_inside_the_wrapper():
    class Evaluates(NumPyClient):
        def evaluate(self, parameters, config):
            return 0.5, 4, {}

    ins = FitIns(ndarrays_to_parameters([np.zeros(1)]), {})
    content = fitins_to_recorddict(ins, keep_input=True)
    app = ClientApp(lambda _: Evaluates().to_client(), mods=[momentum_mod()])
    reply = app(Message(content, metadata=metadata_of("train")), context_of())
    result = recorddict_to_fitres(reply.content, keep_input=True)
    assert result.status.code == Code.FIT_NOT_IMPLEMENTED
    wrapped = MomentumClient(Evaluates())
    assert not hasattr(type(wrapped.to_client()), "numpy_fit")
    assert wrapped.evaluate([], {}) == (0.5, 4, {})


def test_gradients_sent_as_parameters_are_refused_in_words():
    client = MomentumClient(Sends([[np.zeros(2)] * 2], "gradients"))
    with pytest.raises(ValueError, match="pass `payload='gradients'`"):
        client.fit([np.zeros(2)], {})


@pytest.mark.parametrize(
    ("arguments", "parameter"),
    [
        ({"beta": 1}, "beta"),
        ({"beta": -0.1}, "beta"),
        ({"beta": float("nan")}, "beta"),
        ({"beta": True}, "beta"),
        ({"beta": "0.9"}, "beta"),
        ({"payload": "models"}, "payload"),
        ({"buffers": 3}, "buffers"),
    ],
)
def test_what_cannot_work_is_refused_at_once(arguments, parameter):
    for make in (momentum_mod, lambda **kwargs: MomentumClient(Trainer(), **kwargs)):
        with pytest.raises(ValueError, match=f"Parameter `{parameter}` should be"):
            make(**arguments)


def test_an_attacker_outside_sees_the_momentum():
    client = MaliciousClient(MomentumClient(Sends([[8.0], [4.0]]), 0.5), SignFlip(), client_id=0)
    sent = [client.fit([np.zeros(1)], {"server-round": t})[0][0].item() for t in (1, 2)]
    assert sent == [-8, -6]


def test_an_attacking_mod_in_front_sees_the_momentum():
    def wrap(make_honest, client_id):
        return MaliciousClient(make_honest(client_id), SignFlip(), client_id=client_id)

    context = context_of()
    app = app_of("parameters", [attack_mod(wrap), momentum_mod(0.9)])
    for t, wanted in zip((1, 2), reference("parameters", 0.9, (1, 2)), strict=True):
        model = model_of(t)
        reply = app(message_of(named(model), t), context)
        got = [array.numpy() for array in reply.content["arrays"].values()]
        for position in (0, 3):
            flipped = 2 * model[position] - wanted[position]
            np.testing.assert_allclose(got[position], flipped, rtol=1e-5)


def test_colluders_keep_the_momentum_of_the_others_in_their_own_context():
    context = context_of()

    class Grows(NumPyClient):
        def __init__(self, client_id):
            self.client_id = client_id

        def fit(self, parameters, config):
            return [parameters[0] + self.client_id * config["server-round"]], 1, {}

    def make_honest(client_id):
        return MomentumClient(Grows(client_id), 0.5, context=context, client_id=client_id)

    attack = PutAllFar(distance=0)
    for t in (1, 2, 3):
        client = ColludingClient(Grows(1), attack, make_honest, [1, 3], client_id=1)
        sent, _, _ = client.fit([np.zeros(1)], {"server-round": t})
    # m is 1, 1.5 and 2.25 times the client's number, and the mean of 1 and 3 is 2
    assert sent[0].item() == 4.5
    assert len(context.state) == 2
