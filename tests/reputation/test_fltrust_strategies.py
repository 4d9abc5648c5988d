"""FLTrust in both Flower APIs: equal models, settings, audit, checkpoints, and digits under attack."""

import inspect
import math

import numpy as np
import pytest
from flower import APIS, Sent, every_api
from quadratic import Quadratic

from flwr_byzantine.rules import Clipping

MINIMISER = np.array([1.0, -2.0, 0.5])
each_payload = pytest.mark.parametrize("payload", ["parameters", "gradients"])


def build(api, **settings):
    return api.ours.FLTrust(auxiliary=Quadratic(MINIMISER), **settings)


def train(api, strategy, rounds, w=None, first=1):
    """Play rounds with one honest client, an exact one, and three that flip signs or send NaN."""
    w = np.zeros(3) if w is None else w
    metrics = {}
    for t in range(first, first + rounds):
        rng = np.random.default_rng(t)
        api.hand_out(strategy, [w], server_round=t, nodes=5)
        gradient = w - MINIMISER
        sent = [
            gradient + 0.01 * rng.normal(size=3), 2 * gradient, -gradient, -1e20 * gradient,
            np.full(3, np.nan),
        ]  # fmt: skip
        if strategy.aggregator.payload == "parameters":
            sent = [w - h for h in sent]
        replies = [api.reply(Sent(100 + i, [row])) for i, row in enumerate(sent)]
        (w,), metrics = api.aggregate(strategy, replies, server_round=t)
    return w, metrics


@every_api
@each_payload
def test_learns_from_a_majority_of_attackers(api, payload):
    strategy = build(api, learning_rate=0.2, payload=payload)
    w, metrics = train(api, strategy, 30)
    assert np.linalg.norm(w - MINIMISER) < 0.01
    trust = [metrics[f"byzantine/trust/{client}"] for client in range(100, 105)]
    assert trust[1] == pytest.approx(1)
    assert 0 < trust[0] <= 1
    assert trust[2:] == [0, 0, 0]
    assert metrics["byzantine/num_selected"] == 2


@each_payload
def test_both_apis_give_the_same_model(payload):
    results = [train(api, build(api, payload=payload, learning_rate=0.5), 5) for api in APIS]
    np.testing.assert_array_equal(results[0][0], results[1][0])
    found = [
        {key: value for key, value in metrics.items() if key.startswith("byzantine/")}
        for _, metrics in results
    ]
    assert found[0] == found[1]


@every_api
def test_by_default_the_servers_update_is_minus_the_gradient(api):
    strategy = build(api)
    api.hand_out(strategy, [np.zeros(3)], nodes=2)
    (w,), _ = api.aggregate(strategy, [api.reply(Sent(1, [0.01 * MINIMISER]))])
    np.testing.assert_allclose(w, MINIMISER, rtol=1e-12)
    assert strategy.aggregator.server_steps == 1
    assert strategy.aggregator.learning_rate == 1.0
    shown = inspect.signature(api.ours.FLTrust).parameters
    assert shown["server_steps"].default == 1
    assert shown["learning_rate"].default == 1.0
    assert repr(strategy) == "FLTrust(server_steps=1)"


@every_api
def test_the_server_may_take_several_steps(api):
    """A step of 0.5 halves the distance to the minimum."""
    strategy = build(api, server_steps=3, learning_rate=0.5)
    api.hand_out(strategy, [np.zeros(3)], nodes=2)
    (w,), _ = api.aggregate(strategy, [api.reply(Sent(1, [MINIMISER]))])
    np.testing.assert_allclose(w, MINIMISER * 7 / 8, rtol=1e-12)


@every_api
def test_audit_tells_shares_and_cosines(api):
    strategy = build(api, audit_log=None)
    train(api, strategy, 1)
    records = strategy.audit
    assert [r.verdict for r in records] == ["kept"] * 2 + ["not selected"] * 3
    assert sum(r.share for r in records) == pytest.approx(1)
    assert records[1].score == pytest.approx(-1)
    assert records[2].score == records[3].score == pytest.approx(1)
    assert records[4].score == math.inf
    assert records[0].share == pytest.approx(-records[0].score / (1 - records[0].score))


@every_api
def test_a_skipped_round_keeps_the_model_and_says_so(api, caplog):
    strategy = build(api)
    for t in range(1, 4):
        api.hand_out(strategy, [np.zeros(3)], server_round=t, nodes=2)
        sent = [api.reply(Sent(i, [-MINIMISER])) for i in (1, 2)]
        tensors, metrics = api.aggregate(strategy, sent, server_round=t)
        assert tensors is None
        assert metrics["byzantine/skipped"] == 1
        assert metrics["byzantine/trust/2"] == 0
    assert (
        "the model stays: no client's update points in the direction of the server's own"
        in caplog.text
    )
    assert "3 rounds in a row were skipped: no client's update points" in caplog.text
    assert {r.verdict for r in strategy.audit} == {"skipped"}


@every_api
def test_rounds_in_which_attackers_alone_are_left_are_no_reason_to_warn(api, caplog):
    """ByGARS does not warn either: it has no f, and a sum of weights is not what protects."""
    for name in ("FLTrust", "ByGARS", "ByGARSPlusPlus"):
        strategy = getattr(api.ours, name)(auxiliary=Quadratic(MINIMISER))
        api.hand_out(strategy, [np.zeros(3)], nodes=2)
        api.aggregate(strategy, [api.reply(Sent(i, [MINIMISER])) for i in (1, 2)])
        strategy.aggregator.state_dict()
    assert "protects from no attacker" not in caplog.text


@every_api
@each_payload
def test_resumed_runs_go_on_bit_for_bit(api, payload, tmp_path):
    settings = {"payload": payload, "learning_rate": lambda t: 0.5 / t}
    whole, _ = train(api, build(api, **settings), 6)
    w, _ = train(api, build(api, **settings, checkpoint=tmp_path / "run"), 3)
    again = build(api, **settings, checkpoint=tmp_path / "run")
    found = again._resume()
    assert found.server_round == 3
    resumed, _ = train(api, again, 3, w, first=4)
    np.testing.assert_array_equal(resumed, whole)


@every_api
def test_failures_count_as_elsewhere(api):
    """Any number of clients may fail, because no bound needs them."""
    for count_failures in (True, False):
        strategy = build(api, count_failures=count_failures)
        api.hand_out(strategy, [np.zeros(3)], nodes=6)
        sent = [api.reply(Sent(1, [MINIMISER])), *[api.error(i) for i in range(2, 6)]]
        tensors, metrics = api.aggregate(strategy, sent)
        np.testing.assert_allclose(tensors[0], MINIMISER)
        assert metrics["byzantine/num_failed"] >= 4


@every_api
def test_metrics_of_clients_that_are_not_trusted_do_not_count(api):
    if api.name == "fit":
        pytest.skip("Flower gives functions of this API all metrics")
    strategy = build(api)
    api.hand_out(strategy, [np.zeros(3)], nodes=3)
    sent = [Sent(1, [MINIMISER], metrics={"loss": 1.0})]
    sent += [Sent(i, [-MINIMISER], metrics={"loss": 99.0}) for i in (2, 3)]
    _, metrics = api.aggregate(strategy, [api.reply(one) for one in sent])
    assert metrics["loss"] == 1.0


WRONG = [
    ({"auxiliary": None}, "Parameter `auxiliary` should be a function"),
    ({"server_steps": 0}, "Parameter `server_steps` should be a whole number of at least 1"),
    ({"server_steps": 2.0}, "Found `server_steps = 2.0`"),
    ({"server_steps": 3, "payload": "gradients"}, "Found `server_steps = 3`"),
    ({"learning_rate": 0}, "Parameter `learning_rate` should be a positive number"),
    ({"payload": "both"}, "Parameter `payload` should be one of"),
    ({"trusted_weights": {"1": 2.0}}, "Parameter `trusted_weights` of FLTrust should be None"),
    ({"pre_aggregation": Clipping(1.0)}, "Parameter `pre_aggregation` of FLTrust should be None"),
    ({"on_too_few": "stop"}, "Parameter `on_too_few` should be one of"),
]


@every_api
@pytest.mark.parametrize(("settings", "complaint"), WRONG)
def test_wrong_settings_raise_at_construction(api, settings, complaint):
    with pytest.raises(ValueError, match=complaint):
        api.ours.FLTrust(**{"auxiliary": Quadratic(MINIMISER), **settings})


@every_api
def test_keywords_that_it_lacks(api):
    for name in (api.f_name, "meta_learning_rate", "normalize", "max_norm_ratio"):
        with pytest.raises(TypeError, match=name):
            build(api, **{name: 1})
    with pytest.raises(TypeError, match="auxiliary"):
        api.ours.FLTrust()


# -- with torch ---------------------------------------------------------------------------------------


def digits():
    import torch
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    return torch.tensor(x[order] / 16, dtype=torch.float32), torch.tensor(y[order])


def softmax_gradient(w, x, y):
    """The gradient of the mean cross-entropy, without torch, because it is called 1,500 times."""
    x, y = x.numpy(), np.eye(10)[y.numpy()]
    p = np.exp(x @ w[0].T + w[1])
    error = (p / p.sum(axis=1, keepdims=True) - y) / len(x)
    return [error.T @ x, error.sum(axis=0)]


def attacked(kind, moved, w, rng):
    return {
        "flipped": lambda: [2 * a - b for a, b in zip(w, moved, strict=True)],
        "noise": lambda: [rng.normal(0, 200, a.shape).astype(a.dtype) for a in w],
        "far": lambda: [np.full_like(a, -1e20) for a in w],
        "copies": lambda: [np.where(a == 0, 1e-20, a).astype(a.dtype) for a in w],
        "nan": lambda: [np.full_like(a, np.nan) for a in w],
    }[kind]()


@pytest.mark.torch
@pytest.mark.parametrize("steps", [1, 3])
def test_trains_on_digits_where_twelve_of_twenty_attack(steps):
    """All attacks act at once. The server has 250 clean samples, and takes three local steps of 0.2."""
    import torch
    from torch.nn import functional
    from torch.utils.data import TensorDataset

    from flwr_byzantine.reputation.auxiliary import TorchAuxiliaryLoss

    api = APIS[1]
    x, y = digits()
    model = torch.nn.Linear(64, 10)
    clean = TensorDataset(x[:250], y[:250])
    auxiliary = TorchAuxiliaryLoss(model, functional.cross_entropy, clean)
    strategy = api.ours.FLTrust(
        auxiliary=auxiliary, server_steps=steps, learning_rate=1.0 if steps == 1 else 0.4
    )
    rng = np.random.default_rng(0)
    w = [np.zeros((10, 64), np.float32), np.zeros(10, np.float32)]
    kinds = ["flipped", "noise", "far", "copies", "nan"]
    for t in range(1, 26):
        api.hand_out(strategy, w, server_round=t, nodes=20)
        replies = []
        for client in range(20):
            sent = [a.copy() for a in w]
            for _ in range(3):
                batch = 250 + client + 20 * rng.choice(55, 32, replace=False)
                for a, g in zip(sent, softmax_gradient(sent, x[batch], y[batch]), strict=True):
                    a -= 0.2 * g
            if client < 12:
                sent = attacked(kinds[client % 5], sent, w, rng)
            replies.append(api.reply(Sent(client, sent)))
        w, metrics = api.aggregate(strategy, replies, server_round=t)
    found = (x[1400:].numpy() @ w[0].T + w[1]).argmax(axis=1)
    assert (found == y[1400:].numpy()).mean() > 0.85
    trust = [metrics[f"byzantine/trust/{client}"] for client in range(20)]
    assert min(trust[12:]) > 0.1 > max(trust[:12])


@pytest.mark.torch
@every_api
def test_a_model_with_batch_norm(api):
    """Its statistics and counters stay, and change nobody's trust."""
    import torch
    from torch.nn import functional
    from torch.utils.data import TensorDataset

    from flwr_byzantine.reputation.auxiliary import TorchAuxiliaryLoss

    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(64, 8), torch.nn.BatchNorm1d(8), torch.nn.ReLU(), torch.nn.Linear(8, 10)
    )
    x, y = digits()
    clean = TensorDataset(x[:100], y[:100])
    auxiliary = TorchAuxiliaryLoss(model, functional.cross_entropy, clean)
    w = {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}
    strategy = api.ours.FLTrust(auxiliary=auxiliary, server_steps=2, learning_rate=0.1)
    gradient = dict(zip(w, auxiliary(list(w.values()), 1), strict=True))
    still = {name for name, own in gradient.items() if own is None}
    assert still == {"1.running_mean", "1.running_var", "1.num_batches_tracked"}
    sent = {
        n: np.asarray(a + 9).astype(a.dtype) if n in still else a - 0.3 * gradient[n]
        for n, a in w.items()
    }
    before = auxiliary.loss(list(w.values()), 1)
    api.hand_out(strategy, w, nodes=2)
    tensors, metrics = api.aggregate(strategy, [api.reply(Sent(1, sent))])
    after = dict(zip(w, tensors, strict=True))
    for name in w:
        assert after[name].dtype == w[name].dtype
        assert np.array_equal(after[name], w[name]) == (name in still)
    assert auxiliary.loss(tensors, 1) < before
    assert metrics["byzantine/trust/1"] > 0.9
