"""Flower's five robust strategies, with their own names, keywords and attributes."""

import copy
import logging
import pickle

import numpy as np
import pytest
from cases import gaussian
from flower import FitApi, TrainApi, every_api, replies_of
from flwr.server.strategy.aggregate import aggregate_krum
from flwr.serverapp.strategy.multikrum import select_multikrum

from flwr_byzantine import rules

NAMES = ("Krum", "MultiKrum", "Bulyan", "FedMedian", "FedTrimmedAvg")
CONSTRUCTED = {"first_aggregation_rule", "aggregation_rule_kwargs", "selection_rule"}


def said(caplog):
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


def theirs(api):
    return [name for name in NAMES if hasattr(api.theirs, name)]


@every_api
def test_all_five_are_there(api):
    for name in ("Krum", "Bulyan", "FedMedian", "FedTrimmedAvg", "MultiKrum"):
        assert issubclass(getattr(api.ours, name), api.theirs.FedAvg)


@every_api
@pytest.mark.parametrize("name", NAMES)
def test_attributes_of_flowers_classes_can_be_read(api, name):
    if name not in theirs(api):
        pytest.skip("only the other API of Flower has it")
    flowers, ours = getattr(api.theirs, name)(), getattr(api.ours, name)()
    own_defaults = {api.m_name} if name == "MultiKrum" else set()  # ours is n - f - 2, not 1
    for key, value in vars(flowers).items():
        found = getattr(ours, key)
        if not key.startswith("min_") and not key.endswith("_fn") and key not in own_defaults:
            assert found == value, key


@every_api
@pytest.mark.parametrize("name", NAMES)
def test_setting_attributes_works_or_raises(api, name):
    """If Flower's class has an attribute, setting it here changes the rule, or raises."""
    if name not in theirs(api):
        pytest.skip("only the other API of Flower has it")
    ours = getattr(api.ours, name)()
    for key in vars(getattr(api.theirs, name)()):
        if key in CONSTRUCTED:
            with pytest.raises(ValueError, match=f"`{key}`"):
                setattr(ours, key, None)
        elif key.startswith("num_"):
            setattr(ours, key, 2)
            assert getattr(ours, key) == 2
            with pytest.raises(ValueError, match=f"`{key}`"):
                setattr(ours, key, -1)
            assert getattr(ours, key) == 2


@every_api
@pytest.mark.parametrize(
    "name", ["Krum", "MultiKrum", "Bulyan", "MultiBulyan", "Phocas", "TrimmedMean"]
)
def test_setting_f_changes_the_rule_and_what_is_waited_for(api, name):
    least = {"clients": "min_fit_clients", "nodes": "min_train_nodes"}[api.clients]
    x = gaussian(9, 4)
    set_later, told = getattr(api.ours, name)(), getattr(api.ours, name)(**{api.f_name: 1})
    setattr(set_later, api.f_name, 1)
    results = [api.aggregate(strategy, replies_of(api, x))[0] for strategy in (set_later, told)]
    np.testing.assert_array_equal(*results)
    assert getattr(set_later, least) == getattr(told, least) == told.rule.min_updates
    setattr(set_later, api.f_name, 0.2)
    assert getattr(set_later, api.f_name) == 0.2
    chosen = getattr(api.ours, name)(**{least: 7})
    with pytest.raises(ValueError, match=f"`{least}` of {name} should be at least"):
        setattr(chosen, api.f_name, 5)
    assert getattr(chosen, api.f_name) == 0
    for how in (copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))):
        assert getattr(how(set_later), api.f_name) == 0.2


@every_api
def test_setting_f_to_none_is_warned_of(api, caplog):
    strategy = api.ours.Krum(**{api.f_name: 1})
    assert not said(caplog)
    setattr(strategy, api.f_name, 0)
    (text,) = said(caplog)
    assert f"`{api.f_name}`" in text


@every_api
def test_the_number_that_krum_selects(api):
    x = gaussian(9, 5)
    strategy = api.ours.Krum(**{api.f_name: 1})
    assert getattr(strategy, api.m_name) == (0 if api.name == "fit" else 1)
    setattr(strategy, api.m_name, 3)
    assert strategy.rule == rules.MultiKrum(1, 3)
    tensors, _ = api.aggregate(strategy, replies_of(api, x))
    np.testing.assert_array_equal(tensors[0], rules.MultiKrum(1, 3)(x))
    setattr(strategy, api.m_name, 0 if api.name == "fit" else 1)
    assert strategy.rule == rules.Krum(1)
    with pytest.raises(ValueError, match=f"`{api.m_name}`"):
        setattr(strategy, api.m_name, -1)


@every_api
@pytest.mark.parametrize("beta", [0.0, 0.1, 0.2, 0.29, 0.45])
@pytest.mark.parametrize("n", [2, 4, 5, 10, 100])
def test_fed_trimmed_avg_is_flowers(api, beta, n, caplog):
    x = gaussian(n, 5, seed=n)
    expected, _ = api.aggregate(api.theirs.FedTrimmedAvg(beta=beta), replies_of(api, x))
    strategy = api.ours.FedTrimmedAvg(beta=beta)
    caplog.clear()
    tensors, _ = api.aggregate(strategy, replies_of(api, x))
    np.testing.assert_allclose(tensors[0], expected[0], rtol=1e-12)
    warned = [text for text in said(caplog) if "trims nothing" in text]
    assert len(warned) == (int(beta * n) == 0)
    assert all(f"{n} replies" in text for text in warned)


@every_api
def test_beta_can_be_read_and_set_and_is_checked(api, caplog):
    assert api.ours.FedTrimmedAvg().beta == 0.2
    assert not said(caplog)
    api.ours.FedTrimmedAvg(beta=0.0)
    assert "`beta`" in said(caplog)[0]
    strategy = api.ours.FedTrimmedAvg(beta=0.1)
    strategy.beta = 0.4
    x = gaussian(10, 3)
    tensors, _ = api.aggregate(strategy, replies_of(api, x))
    np.testing.assert_array_equal(tensors[0], rules.TrimmedMean(4)(x))
    for wrong in (0.5, -0.1, True, "0.2", float("nan"), None):
        with pytest.raises(ValueError, match="Parameter `beta`"):
            strategy.beta = wrong
        with pytest.raises(ValueError, match="Parameter `beta`"):
            api.ours.FedTrimmedAvg(beta=wrong)
    assert strategy.beta == 0.4


@every_api
def test_fed_median_is_flowers(api):
    for n in (3, 4, 9):
        x = gaussian(n, 5, seed=n)
        expected, _ = api.aggregate(api.theirs.FedMedian(), replies_of(api, x))
        tensors, _ = api.aggregate(api.ours.FedMedian(), replies_of(api, x))
        np.testing.assert_allclose(tensors[0], expected[0], rtol=1e-15)


def test_keywords_of_bulyan_without_effect_are_warned_of(caplog):
    fit, train = FitApi.ours.Bulyan, TrainApi.ours.Bulyan
    fit(num_malicious_clients=1, first_aggregation_rule=aggregate_krum)
    train(num_malicious_nodes=1, selection_rule=select_multikrum)
    assert not said(caplog)
    fit(num_malicious_clients=1, first_aggregation_rule=max)
    train(num_malicious_nodes=1, selection_rule=max)
    assert ["`first_aggregation_rule`" in text for text in said(caplog)] == [True, False]
    assert "`selection_rule`" in said(caplog)[1]
    strategy = fit(num_malicious_clients=1, to_keep=4)
    assert strategy.aggregation_rule_kwargs == {"to_keep": 4}


@every_api
def test_setting_what_a_strategy_does_not_have_is_warned_of(api, caplog):
    other = {"fit": ("num_malicious_nodes", "min_train_nodes"), "train": ("min_fit_clients",)}
    strategy = api.ours.Krum(**{api.f_name: 1})
    for name in other[api.name]:
        setattr(strategy, name, 9)
    for name, text in zip(other[api.name], said(caplog), strict=True):
        assert f"`{name}` has no effect" in text
        assert "in this API it is `" in text
    for strategy in (
        api.ours.Median(),
        api.ours.ByzantineRobust(api.theirs.FedAvg(), rules.Median()),
    ):
        caplog.clear()
        setattr(strategy, api.f_name, 2)
        (text,) = said(caplog)
        assert f"`{api.f_name}` has no effect" in text


@every_api
def test_the_rule_of_a_wrapper_can_be_set(api):
    robust = api.ours.ByzantineRobust(api.theirs.FedAvg(), rules.Krum(1))
    robust.rule = rules.Median()
    x = gaussian(5, 3)
    np.testing.assert_array_equal(
        api.aggregate(robust, replies_of(api, x))[0][0], rules.Median()(x)
    )
    with pytest.raises(ValueError, match="`rule`"):
        robust.rule = "krum"
