"""A run that cannot work is refused, or a warning says so, before its first round or in it."""

import logging

import numpy as np
import pytest
from cases import every_strategy, gaussian
from flower import (
    FitApi,
    Nodes,
    Proxy,
    Sent,
    TrainApi,
    every_api,
    replies_of,
    running_task,
    strategy_of,
)
from flwr.app import Array, ArrayRecord
from flwr.common import ndarrays_to_parameters
from flwr.server import SimpleClientManager

from flwr_byzantine import TooFewUpdatesError, rules

MODEL = {"w": np.zeros((3, 4), np.float32), "b": np.zeros(2, np.float32)}


def minimums(api):
    asked = "min_fit_clients" if api.name == "fit" else "min_train_nodes"
    return asked, f"min_available_{api.clients}"


def warnings(caplog, level=logging.WARNING):
    return [record.getMessage() for record in caplog.records if record.levelno >= level]


# -- the number of clients that a round asks ----------------------------------------------------------


@every_api
@every_strategy
def test_minimums_are_what_the_rule_needs(api, case, caplog):
    caplog.set_level(logging.INFO)
    strategy = strategy_of(api, case, 2)
    asked, available = minimums(api)
    least = max(2, case.least(2))
    assert (getattr(strategy, asked), getattr(strategy, available)) == (least, least)
    said = [m for m in warnings(caplog, logging.INFO) if f"`{asked} = {least}`" in m]
    assert len(said) == (least > 2)
    x = [np.zeros(2)]
    fraction = {"fraction_fit" if api.name == "fit" else "fraction_train": 0.05}
    assert len(api.hand_out(strategy_of(api, case, 2, **fraction), x, nodes=30)) == least


@every_api
@every_strategy
def test_too_small_minimums_are_refused(api, case):
    least = case.least(2)
    for name in minimums(api):
        for given in (least, least + 5):
            assert getattr(strategy_of(api, case, 2, **{name: given}), name) == given
        if least > 1:
            found = (
                rf"Parameter `{name}` of {case.name} should be at least {least}.*Found `{name} = "
            )
            with pytest.raises(ValueError, match=found) as error:
                strategy_of(api, case, 2, **{name: least - 1})
            assert f"`{api.f_name} = 2`" in str(error.value)


@every_api
@pytest.mark.parametrize("wrong", [0, -1, 2.5, "9", True])
def test_minimums_are_whole_numbers(api, wrong):
    for name in minimums(api):
        with pytest.raises(ValueError, match=f"Parameter `{name}` of Median should be"):
            api.ours.Median(**{name: wrong})


@every_api
def test_more_are_waited_for_where_more_are_asked(api):
    asked, available = minimums(api)
    strategy = api.ours.Krum(**{api.f_name: 1, asked: 20})
    assert getattr(strategy, available) == 20
    evaluated = f"min_evaluate_{api.clients}"
    assert getattr(api.ours.Krum(**{evaluated: 12}), available) == 12
    assert getattr(api.ours.Krum(**{available: 12}), asked) == 3
    assert getattr(api.ours.Krum(**{available: None}), available) == 3


@every_api
def test_minimums_can_be_set_but_not_too_small(api):
    strategy = api.ours.Krum(**{api.f_name: 2})
    for name in minimums(api):
        setattr(strategy, name, 9)
        assert getattr(strategy, name) == 9
        with pytest.raises(ValueError, match=f"`{name}` of Krum should be at least 7"):
            setattr(strategy, name, 6)
        assert getattr(strategy, name) == 9


@every_api
def test_a_wrapped_strategy_that_asks_too_few_is_warned_of_once(api, caplog):
    asked, available = minimums(api)
    robust = api.ours.ByzantineRobust(api.theirs.FedAvg(), rules.Krum(2))
    for server_round in (1, 2):
        api.hand_out(robust, MODEL, server_round)
    (said,) = [m for m in warnings(caplog) if asked in m]
    assert f"{asked}=7" in said
    assert f"{available}=7" in said
    caplog.clear()
    enough = api.theirs.FedAvg(**{asked: 7} | ({available: 7} if api.name == "fit" else {}))
    api.hand_out(api.ours.ByzantineRobust(enough, rules.Krum(2)), MODEL, nodes=9)
    assert not any(asked in m for m in warnings(caplog))


@every_api
def test_a_wrapped_strategy_that_asks_a_share_is_warned_of_where_that_is_too_small(api, caplog):
    asked, available = minimums(api)
    share = "fraction_fit" if api.name == "fit" else "fraction_train"

    def said(**given):
        caplog.clear()
        api.ours.ByzantineRobust(api.theirs.FedAvg(**given), rules.Krum(2))
        return [m for m in warnings(caplog) if asked in m]

    assert not said(**{share: 1.0, available: 7})
    assert not said(**{share: 0.5, available: 14})
    assert "begins rounds with 5 " in said(**{share: 0.5, available: 10})[0]
    assert "as soon as 2 " in said(**{share: 1.0})[0]


@every_api
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_median_of_two_is_warned_of(api, wrapped, caplog):
    strategy = api.ours.Median()
    if wrapped:
        strategy = api.ours.ByzantineRobust(api.theirs.FedAvg(), rules.Median())
    api.hand_out(strategy, MODEL)
    for n, warned in ((3, 0), (2, 1), (1, 2)):
        api.aggregate(strategy, [api.reply(Sent(i, MODEL)) for i in range(n)])
        said = [m for m in warnings(caplog) if "Median() protects from no attacker among" in m]
        assert len(said) == warned


@every_api
def test_a_strategy_of_the_users_own_that_asks_too_few_is_warned_of_once(api, caplog):
    class Two(api.theirs.FedAvg):
        def configure_fit(self, *arguments, **named):
            return super().configure_fit(*arguments, **named)[:2]

        def configure_train(self, *arguments, **named):
            return list(super().configure_train(*arguments, **named))[:2]

    least = dict.fromkeys(minimums(api), 9)
    robust = api.ours.ByzantineRobust(Two(**least), rules.Krum(2))
    for server_round in (1, 2):
        api.hand_out(robust, MODEL, server_round)
    assert len([m for m in warnings(caplog) if "asks 2" in m and "needs 7" in m]) == 1


def run(strategy, initial, rounds=3, answer=lambda node, arrays: arrays, nodes=9):
    """Run a strategy's own loop in the Message API. The nodes answer with a function of the arrays."""
    api = TrainApi()

    class Grid(Nodes):
        def send_and_receive(self, messages, timeout=None):
            replies = []
            for message in messages:
                node = message.metadata.dst_node_id
                if message.metadata.message_type != "train":
                    replies.append(api.evaluation(node, 0.5))
                    continue
                arrays = {k: v.numpy() for k, v in message.content["arrays"].items()}
                sent = answer(node, arrays)
                replies.append(api.error(node) if sent is None else api.reply(Sent(node, sent)))
            return replies

    record = ArrayRecord({name: Array(array) for name, array in initial.items()})
    with running_task():
        return strategy.start(grid=Grid(nodes), initial_arrays=record, num_rounds=rounds)


def test_the_result_is_the_last_model_where_rounds_are_skipped(caplog):
    api = TrainApi()
    initial = {"w": np.arange(3.0)}
    for strategy in (
        api.ours.Krum(num_malicious_nodes=1),
        api.ours.ByzantineRobust(api.theirs.FedAvg(min_train_nodes=5), rules.Krum(1)),
    ):
        result = run(strategy, initial, answer=lambda node, arrays: None)
        np.testing.assert_array_equal(result.arrays["w"].numpy(), initial["w"])
        done = []

        def once(node, arrays, done=done):
            done.append(node)
            return {"w": arrays["w"] + 1} if len(done) <= 5 else None

        result = run(strategy, initial, answer=once, nodes=5)
        np.testing.assert_array_equal(result.arrays["w"].numpy(), initial["w"] + 1)
    result = run(api.ours.Median(), initial, rounds=0)
    np.testing.assert_array_equal(result.arrays["w"].numpy(), initial["w"])
    result = run(api.ours.Median(fraction_train=0.0), initial)
    np.testing.assert_array_equal(result.arrays["w"].numpy(), initial["w"])


@every_api
@pytest.mark.parametrize("wrapped", [False, True])
def test_three_skipped_rounds_in_a_row_are_an_error(api, caplog, wrapped):
    asked, available = minimums(api)
    few = replies_of(api, gaussian(4, 3))
    enough = replies_of(api, gaussian(9, 3))
    strategy = (
        api.ours.ByzantineRobust(api.theirs.FedAvg(), rules.Krum(2))
        if wrapped
        else api.ours.Krum(**{api.f_name: 2})
    )
    played = [few, few, enough, few, [], few]
    errors = []
    for server_round, replies in enumerate(played, start=1):
        api.aggregate(strategy, replies, server_round)
        errors.append(len(warnings(caplog, logging.ERROR)))
    assert errors == [0, 0, 0, 0, 0, 1]
    (said,) = warnings(caplog, logging.ERROR)
    assert f"`{asked}`" in said
    assert f"`{available}`" in said
    assert ("`num_byzantine`" if wrapped else f"`{api.f_name}`") in said


@every_api
def test_the_error_names_what_replies_are_refused_for(api, caplog):
    strategy = api.ours.Krum(**{api.f_name: 1})
    api.hand_out(strategy, [np.zeros(3)])
    api.aggregate(strategy, replies_of(api, gaussian(5, 3)))
    for server_round in (2, 3, 4):
        api.aggregate(strategy, replies_of(api, gaussian(6, 2)), server_round)
    (said,) = warnings(caplog, logging.ERROR)
    assert "shape (2,), expected (3,)" in said


@pytest.mark.parametrize("wrapped", [False, True])
def test_failures_that_are_not_accepted_are_skipped_rounds(caplog, wrapped):
    api = FitApi()
    replies = [*replies_of(api, gaussian(9, 3)), api.error(3)]

    def make(**options):
        if wrapped:
            return api.ours.ByzantineRobust(
                api.theirs.FedAvg(accept_failures=False), rules.Krum(1), **options
            )
        return api.ours.Krum(num_malicious_clients=1, accept_failures=False, **options)

    strategy = make()
    for server_round in (1, 2, 3):
        assert api.aggregate(strategy, replies, server_round) == (None, {})
    assert any("`accept_failures=False`" in m for m in warnings(caplog))
    assert len(warnings(caplog, logging.ERROR)) == 1
    assert {record.verdict for record in strategy.audit} == {"skipped", "failed"}
    with pytest.raises(TooFewUpdatesError, match="accept_failures"):
        api.aggregate(make(on_too_few="raise"), replies)


@pytest.mark.parametrize("wrapped", [False, True])
def test_the_log_says_that_flower_waits(caplog, wrapped):
    """Flower's client manager waits for up to a day without a message."""
    caplog.set_level(logging.INFO)

    class Impatient(SimpleClientManager):
        def wait_for(self, num_clients, timeout=0):
            return False

    api, manager = FitApi(), Impatient()
    manager.register(Proxy("1"))
    strategy = api.ours.Krum(num_malicious_clients=2)
    if wrapped:
        least = dict.fromkeys(minimums(api), 7)
        strategy = api.ours.ByzantineRobust(api.theirs.FedAvg(**least), rules.Krum(2))
    strategy.configure_fit(1, ndarrays_to_parameters([np.zeros(2)]), manager)
    assert any(
        "1 are connected, and `min_available_clients` is 7" in m for m in warnings(caplog, 0)
    )


@every_api
def test_a_wrapped_strategy_that_gives_no_model_skips_the_round(api, caplog):
    class Never(api.theirs.FedAvg):
        def aggregate_fit(self, *arguments, **named):
            return None, {}

        def aggregate_train(self, *arguments, **named):
            return None, None

    robust = api.ours.ByzantineRobust(Never(), rules.Median())
    for server_round in (1, 2, 3):
        assert api.aggregate(robust, replies_of(api, gaussian(4, 2)), server_round)[0] is None
    (said,) = warnings(caplog, logging.ERROR)
    assert "Never gave no model" in said
    raising = api.ours.ByzantineRobust(Never(), rules.Median(), on_too_few="raise")
    with pytest.raises(TooFewUpdatesError, match="Never gave no model"):
        api.aggregate(raising, replies_of(api, gaussian(4, 2)))


def test_a_round_that_asks_nobody_is_skipped(caplog):
    """Flower's server goes on to the next round without calling anything that could report it."""
    api = FitApi()
    wrapped = api.theirs.FedAvg(min_fit_clients=5, min_available_clients=2)
    robust = api.ours.ByzantineRobust(wrapped, rules.Krum(1))
    for server_round in (1, 2, 3):
        assert api.hand_out(robust, MODEL, server_round, nodes=4) == []
    assert len(warnings(caplog, logging.ERROR)) == 1
    raising = api.ours.ByzantineRobust(wrapped, rules.Krum(1), on_too_few="raise")
    with pytest.raises(TooFewUpdatesError, match="`min_available_clients`"):
        api.hand_out(raising, MODEL, nodes=4)


# -- a first model that nodes do not train --------------------------------------------------------------

HONEST = {"net.w": np.ones((3, 4), np.float32), "net.b": np.ones(2, np.float32)}
FIRST = {
    "no tensors": ({}, "holds no tensor"),
    "whole numbers": (
        {name: array.astype(np.int64) for name, array in HONEST.items()},
        "is int64 of shape (3, 4) in it, and float32",
    ),
    "more tensors": (
        HONEST | {"frozen.w": np.ones(5, np.float32)},
        "it holds 3 tensors, they send 2",
    ),
    "another shape": (
        HONEST | {"net.w": np.ones((4, 3), np.float32)},
        "of shape (4, 3) in it, and float32 of shape (3, 4)",
    ),
}
NAMED = {
    "Opacus": (
        {f"_module.{name}": array for name, array in HONEST.items()},
        "_module.net.w",
        "Opacus",
    ),
    "trainable tensors alone": (
        HONEST | {"frozen.w": np.ones(5, np.float32)},
        "without `frozen.w`",
        "`state_dict()`",
    ),
}


def first_model(api, wrapped, f=1):
    rule = {api.f_name: f}
    if not wrapped:
        return api.ours.Krum(**rule)
    return api.ours.ByzantineRobust(
        api.theirs.FedAvg(**dict.fromkeys(minimums(api), 5)), rules.Krum(f)
    )


@every_api
@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("fault", FIRST)
def test_a_first_model_that_no_client_trains_is_named(api, wrapped, fault):
    initial, found = FIRST[fault]
    name = "initial_parameters" if api.name == "fit" else "initial_arrays"
    strategy = first_model(api, wrapped)
    api.hand_out(strategy, initial)
    replies = [api.reply(Sent(i, HONEST)) for i in range(6)]
    with pytest.raises(ValueError, match=f"Parameter `{name}` should be the model that") as error:
        api.aggregate(strategy, replies)
    assert found in str(error.value)


@pytest.mark.parametrize("fault", NAMED)
def test_names_tell_more_of_a_wrong_first_model(fault):
    api = TrainApi()
    initial, found, advice = NAMED[fault]
    for handed, sent in ((initial, HONEST), (HONEST, initial)):
        strategy = first_model(api, wrapped=False)
        with pytest.raises(ValueError, match="`initial_arrays`") as error:
            run(strategy, handed, answer=lambda node, arrays, sent=sent: sent)
        if handed is initial:
            assert found in str(error.value)
            assert advice in str(error.value)


@every_api
def test_fewer_refused_replies_than_a_rule_needs_blame_nobody(api):
    """Attackers alone never end a run, because they are fewer than a rule needs."""
    strategy = first_model(api, wrapped=False)
    for server_round in (1, 2, 3):
        api.hand_out(strategy, MODEL, server_round)
        bad = [api.reply(Sent(i, [np.ones(7)])) for i in range(4)]
        assert api.aggregate(strategy, bad, server_round)[0] is None
    good = [api.reply(Sent(10 + i, MODEL)) for i in range(5)]
    assert api.aggregate(strategy, [*bad, *good], 4)[0] is not None
    for server_round in (5, 6):
        bad = [api.reply(Sent(20 + i, [np.ones(7)])) for i in range(9)]
        assert api.aggregate(strategy, bad, server_round)[0] is None


@every_api
def test_refused_for_several_reasons_blames_nobody(api):
    strategy = first_model(api, wrapped=False)
    api.hand_out(strategy, MODEL)
    replies = [api.reply(Sent(i, [np.ones(7)] * (3 + i))) for i in range(6)]
    assert api.aggregate(strategy, replies)[0] is None


@every_api
def test_the_next_run_of_a_strategy_has_a_first_model_of_its_own(api):
    strategy = first_model(api, wrapped=False)
    for raises in (False, True):
        if api.name == "fit":
            strategy.initialize_parameters(SimpleClientManager())
            api.hand_out(strategy, {} if raises else MODEL)
            replies = [api.reply(Sent(i, MODEL)) for i in range(6)]
            if raises:
                with pytest.raises(ValueError, match="`initial_parameters`"):
                    api.aggregate(strategy, replies)
            else:
                api.aggregate(strategy, replies)
        elif raises:
            with pytest.raises(ValueError, match="`initial_arrays`"):
                run(strategy, {}, answer=lambda node, arrays: MODEL)
        else:
            run(strategy, MODEL)


@every_api
def test_complex_parameters_are_refused_in_words(api):
    model = [np.ones(2, np.complex64)]
    message = r"`initial_\w+` should be the model to start from.*complex64.*real and imaginary"
    if api.name == "fit":
        given = ndarrays_to_parameters(model)
        with pytest.raises(ValueError, match=message):
            api.ours.Median(initial_parameters=given)
        wrapped = api.theirs.FedAvgM(initial_parameters=given)
        with pytest.raises(ValueError, match=message):
            api.ours.ByzantineRobust(wrapped, rules.Median())
        with pytest.raises(ValueError, match=r"a client gave.*complex64"):
            api.hand_out(api.ours.Median(), model)
    else:
        for strategy in (
            api.ours.Median(),
            api.ours.ByzantineRobust(api.theirs.FedAvg(), rules.Median()),
        ):
            with pytest.raises(ValueError, match=message):
                run(strategy, {"w": model[0]})


# -- f ------------------------------------------------------------------------------------------------


@every_api
@every_strategy
def test_a_rule_without_f_is_warned_of(api, case, caplog):
    if not case.takes_f:
        getattr(api.ours, case.name)()
        assert not warnings(caplog)
        return
    getattr(api.ours, case.name)()
    if case.untold:  # its default survives the largest possible f
        assert not warnings(caplog)
        return
    (said,) = warnings(caplog)
    assert f"`{api.f_name}`" in said
    assert "protects from no attacker" in said
    caplog.clear()
    strategy_of(api, case, 1)
    assert not warnings(caplog)
    enough = api.theirs.FedAvg(**dict.fromkeys(minimums(api), 9))
    api.ours.ByzantineRobust(enough, case.make(0))
    (said,) = warnings(caplog)
    assert f"`{next(iter(vars(case.make(0))))}`" in said


@every_api
@every_strategy
def test_f_is_a_fraction_of_the_replies(api, case):
    if not case.takes_f or case.m:
        return
    strategy = strategy_of(api, case, 0.2)
    assert getattr(strategy, api.f_name) == 0.2
    for n in (11, 15, 16, 20):
        f = {11: 3, 15: 3, 16: 4, 20: 4}[n]
        if case.least(f) > n:
            continue
        x = gaussian(n, 5)
        tensors, _ = api.aggregate(strategy, replies_of(api, x))
        np.testing.assert_array_equal(tensors[0], case.make(f)(x))
        np.testing.assert_array_equal(case.make(0.2)(x), case.make(f)(x))


@every_api
def test_refused_replies_count_for_the_fraction(api):
    x = gaussian(8, 5)
    strategy = api.ours.TrimmedMean(**{api.f_name: 0.2})
    api.hand_out(strategy, [np.zeros(5)])
    bad = [api.reply(Sent(i, [np.ones(2)])) for i in range(3)]
    tensors, _ = api.aggregate(strategy, [*replies_of(api, x), *bad])  # 11 replies in all
    np.testing.assert_array_equal(tensors[0], rules.TrimmedMean(3)(x))


@every_api
@every_strategy
@pytest.mark.parametrize("value", [1.0, True, 0.0, -0.2, 1.5, float("nan"), "0.2"])
def test_fractions_that_are_refused(api, case, value):
    if case.takes_f:
        with pytest.raises(ValueError, match=f"Parameter `{api.f_name}` of {case.name} should be"):
            getattr(api.ours, case.name)(**{api.f_name: value})


@every_api
@every_strategy
def test_a_fraction_that_no_number_of_replies_is_enough_for(api, case):
    if case.takes_f:
        with pytest.raises(
            ValueError, match=f"`{api.f_name}` of {case.name} should be a fraction for which"
        ):
            getattr(api.ours, case.name)(**{api.f_name: 0.6})


@every_api
def test_minimums_of_a_fraction(api):
    """At the default, every larger number of replies is enough too. A smaller number may also be enough."""
    asked, _ = minimums(api)
    strategy = api.ours.Krum(**{api.f_name: 0.2})
    assert getattr(strategy, asked) == 7  # 6 replies would have f = 2, which needs 7
    assert getattr(api.ours.Krum(**{api.f_name: 0.2, asked: 5}), asked) == 5
    with pytest.raises(ValueError, match=f"`{asked}` of Krum should be at least 7"):
        api.ours.Krum(**{api.f_name: 0.2, asked: 6})


def test_numbers_of_fractions():
    for fraction, n, f in [
        (0.2, 1, 1),
        (0.2, 5, 1),
        (0.2, 6, 2),
        (0.1, 30, 3),
        (0.3, 10, 3),
        (0.01, 9, 1),
    ]:
        assert rules.TrimmedMean(fraction).at(n) == rules.TrimmedMean(f)
    assert rules.Krum(np.float32(0.25)).at(8) == rules.Krum(2)
    assert rules.Krum(0.25).at(8).without(1) == rules.Krum(1)
    assert rules.Krum(0.25).without(1) == rules.Krum(0.25)


# -- fewer replies than the bound ---------------------------------------------------------------------


@every_api
@every_strategy
def test_below_its_bound_a_rule_runs_where_that_is_asked_for(api, case, caplog):
    for n in range(1, case.least(2)):
        x = gaussian(n, 6)
        strategy = strategy_of(api, case, 2, bound="warn")
        caplog.clear()
        tensors, metrics = api.aggregate(strategy, replies_of(api, x))
        assert metrics["byzantine/skipped"] == 0
        assert np.isfinite(tensors[0]).all()
        assert ((x.min(axis=0) <= tensors[0]) & (tensors[0] <= x.max(axis=0))).all()
        assert any("promises nothing" in m for m in warnings(caplog))
        assert api.aggregate(strategy_of(api, case, 2), replies_of(api, x))[0] is None
    assert api.aggregate(strategy_of(api, case, 2, bound="warn"), [])[0] is None


@every_api
def test_below_its_bound_krum_is_flowers(api):
    krum = api.theirs.Krum
    for n, f in ((3, 1), (4, 1), (5, 2), (6, 2)):
        x = gaussian(n, 6, seed=n)
        expected, _ = api.aggregate(krum(**{api.f_name: f}), replies_of(api, x))
        ours = api.ours.Krum(**{api.f_name: f}, bound="warn")
        np.testing.assert_array_equal(api.aggregate(ours, replies_of(api, x))[0], expected)
        wrapped = api.ours.ByzantineRobust(api.theirs.FedAvg(), rules.Krum(f), bound="warn")
        np.testing.assert_array_equal(api.aggregate(wrapped, replies_of(api, x))[0], expected)
    x = gaussian(9, 6)
    keep = {api.m_name: 8, api.f_name: 2}
    theirs = krum if api.name == "fit" else api.theirs.MultiKrum
    expected, _ = api.aggregate(theirs(**keep), replies_of(api, x))
    ours = api.ours.MultiKrum(**keep, bound="warn")
    np.testing.assert_allclose(api.aggregate(ours, replies_of(api, x))[0], expected, rtol=1e-12)


@every_api
def test_too_small_minimums_are_warned_of_below_the_bound(api, caplog):
    asked, available = minimums(api)
    strategy = api.ours.Krum(**{api.f_name: 2, asked: 4, available: 4}, bound="warn")
    assert getattr(strategy, asked) == 4
    assert len([m for m in warnings(caplog) if asked in m]) == 1
    with pytest.raises(ValueError, match="`bound`"):
        api.ours.Krum(bound="no")
