"""Each line of docs/faults.md: what one client does, what Flower's FedAvg makes of it, and what we do."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from flower import FitApi, Proxy, TrainApi, every_api, message
from flwr.app import Error, RecordDict
from flwr.common import Parameters
from flwr.server import SimpleClientManager
from flwr.server.strategy import FedAvg
from hostile import (
    ALL_MALFORMED,
    CATALOGUE,
    FINE,
    LIES,
    MORE_MALFORMED,
    MORE_NUMBERS,
    MORE_RECORDS,
    NAN,
    RECORDS,
    SEEN_RECORDS,
    Lie,
    fit_result,
    good,
    more_records,
    other_records,
    record_dict,
)

from flwr_byzantine.rules import Median

DOCS = Path(__file__).parents[2] / "docs" / "faults.md"
MODEL = {"w": np.zeros((3, 4), np.float32), "b": np.zeros(2, np.float32)}

ENDS, POISONED, WINS, WRONG, GOES_ON = "ends", "NaN", "wins", "wrong", "goes on"
ZERO_D = {"shape (1,)", "0-d tensor"}  # numpy broadcasts these, so two shapes give one average
FEDAVG = {
    **dict.fromkeys(LIES, ENDS),
    **dict.fromkeys(["NaN", "infinity", "NaN examples"], POISONED),
    **dict.fromkeys(["1e20", "1e15 examples", "1e18 examples"], WINS),
    **dict.fromkeys(["-1 examples", *ZERO_D, "whole numbers"], WRONG),
    "0 examples": GOES_ON,
}
MORE_FEDAVG = {
    **dict.fromkeys(["NaN in one tensor", "both infinities"], POISONED),
    **dict.fromkeys(["float64 beyond float32", "infinitely many examples"], POISONED),
    **dict.fromkeys(["last: shape (1,)", "last: shape ()", "last: whole numbers"], WRONG),
    **dict.fromkeys(["last: long doubles", "last: trailing bytes", "-10 examples"], WRONG),
    **dict.fromkeys(["NaN metric", "huge metric"], GOES_ON),
}
BY_API = {  # in the other API, these end the round
    ("last: complex numbers", "fit"): WRONG,
    ("another metric", "fit"): GOES_ON,
    ("a metric of ours", "fit"): GOES_ON,
}


def flowers(fault, api):
    """The known verdict of Flower's own FedAvg on this fault."""
    return BY_API.get((fault, api.name), (FEDAVG | MORE_FEDAVG).get(fault, ENDS))


def sent(api, lie, node):
    if api.name == "fit":
        return Proxy(str(node)), fit_result(lie)
    return message(node, record_dict(lie))


def honest(api, nodes=(1, 2, 3)):
    """Honest replies, whose models hold ones, twos and threes."""
    return [sent(api, Lie(good({k: a + i for k, a in MODEL.items()})), i) for i in nodes]


def verdict(api, replies):
    """The verdict of Flower's own FedAvg on these replies."""
    try:
        tensors, _ = api.aggregate(api.theirs.FedAvg(), replies)
    except Exception:
        return ENDS
    values = np.concatenate([np.ravel(tensor).astype(float) for tensor in tensors])
    if not np.isfinite(values).all():
        return POISONED
    shapes = [tensor.shape for tensor in tensors]
    if np.allclose(values, 2) and shapes == [a.shape for a in MODEL.values()]:
        return GOES_ON
    return WINS if np.abs(values).max() > 99 else WRONG


def survive(api, reply, dropped=None, nodes=(1, 2, 3)):
    """Check that our round gives a model among the honest ones, and drops only the given client."""
    strategy = api.ours.TrimmedMean(**{api.f_name: 1})
    api.hand_out(strategy, MODEL)
    tensors, metrics = api.aggregate(strategy, [*reply, *honest(api, nodes)])
    for tensor, expected in zip(tensors, MODEL.values(), strict=True):
        assert (tensor.shape, tensor.dtype) == (expected.shape, expected.dtype)
        assert (tensor >= 1).all()
        assert (tensor <= 3).all()
    found = {record.client for record in strategy.audit if record.verdict == "dropped"}
    assert found == ({dropped} if dropped else set())
    assert metrics["byzantine/num_dropped"] == len(found)
    return strategy


@every_api
@pytest.mark.parametrize("fault", CATALOGUE)
def test_what_one_client_sends(api, fault):
    reply = sent(api, CATALOGUE[fault](MODEL), 4)
    found = verdict(api, [*honest(api), reply])
    assert found == flowers(fault, api), "Flower changed: see docs/faults.md"
    survive(api, [reply], dropped="4" if fault in ALL_MALFORMED else None)


@every_api
@pytest.mark.parametrize("kind", FINE)
def test_other_encodings_of_a_good_model_count_like_it(api, kind):
    reply = sent(api, FINE[kind]({k: a + 2 for k, a in MODEL.items()}), 4)
    assert verdict(api, [*honest(api), reply]) not in (ENDS, POISONED, WINS)
    strategy = survive(api, [reply])
    assert len(strategy.audit) == 4


@pytest.mark.parametrize("fault", [*RECORDS, *MORE_RECORDS])
def test_other_records_of_the_message_api(fault):
    api = TrainApi()
    lie = Lie(good({k: a + 2 for k, a in MODEL.items()}))
    reply = message(4, RecordDict((other_records(lie) | more_records(lie))[fault]))
    goes_on = fault in ("a record of configuration", "other order of tensors")
    found = verdict(api, [*honest(api), reply])
    assert found == (GOES_ON if goes_on else ENDS), "Flower changed: see docs/faults.md"
    survive(api, [reply], dropped=None if fault in SEEN_RECORDS else "4")


def test_no_name_stands_for_two_kinds_of_reply():
    kinds = [*LIES, *MORE_MALFORMED, *MORE_NUMBERS, *FINE, *RECORDS, *MORE_RECORDS]
    assert len(set(kinds)) == len(kinds)
    known = {*FEDAVG, *MORE_FEDAVG, *(fault for fault, _ in BY_API), *SEEN_RECORDS}
    assert known <= set(kinds)


@every_api
def test_a_client_that_raises(api):
    """Flower goes on, and so do we. A client that does not answer is not one of the f."""
    assert verdict(api, [*honest(api), api.error(4)]) == GOES_ON
    assert survive(api, [api.error(4)]).aggregator.last.accepted


@every_api
def test_a_client_that_died_or_does_not_answer(api):
    """If a SuperNode or ClientApp is gone or hangs, Flower reports an error of node 1, or nothing."""
    lost = [] if api.name == "fit" else [message(1, None, error=Error(code=3, reason="no reply"))]
    assert verdict(api, [*honest(api), *lost]) == GOES_ON
    strategy = survive(api, lost)
    assert len(strategy.audit) == 3
    survive(api, lost * 5)


def test_an_error_that_also_has_content_is_an_error(caplog):
    api = TrainApi()
    both = sent(api, LIES["1e20"](MODEL), 4)
    vars(both)["_error"] = Error(code=1, reason="\n?" * 10**6)
    found = {record.client: record.verdict for record in survive(api, [both]).audit}
    assert found.pop("4") == "failed"
    assert sorted(found) == ["1", "2", "3"]
    assert max(len(record.getMessage()) for record in caplog.records) < 500


def test_a_message_with_neither_error_nor_content_is_dropped():
    empty = message(4, RecordDict({}))
    vars(empty)["_content"] = None
    assert verdict(TrainApi(), [*honest(TrainApi()), empty]) == ENDS
    survive(TrainApi(), [empty], dropped="4")


@every_api
def test_replies_of_one_node_count_once(api):
    replies = [sent(api, Lie(good({k: a + 90 for k, a in MODEL.items()})), 4) for _ in range(5)]
    if api.name == "fit":
        assert verdict(api, [*honest(api), *replies]) == WRONG
    strategy = survive(api, replies)
    assert len(strategy.audit) == 4


def test_fields_that_are_none():
    api = FitApi()
    proxy, result = sent(api, Lie(good(MODEL)), 4)
    for name in ("parameters", "num_examples", "metrics", "status"):
        broken = type(result)(**{**vars(result), name: None})
        bad = name == "parameters"
        ends = name in ("parameters", "num_examples")
        assert (verdict(api, [*honest(api), (proxy, broken)]) == ENDS) == ends
        usual = api.aggregate(api.ours.Median(), [*honest(api), (proxy, broken)])
        assert usual[1]["byzantine/num_dropped"] == bad
    survive(api, [(proxy, None)], dropped="4")


@every_api
@pytest.mark.parametrize("value", [NAN, 1e30, float("-inf")])
def test_one_evaluation_does_not_change_what_is_read(api, value):
    """In Flower, the attacker decides the average of the losses. The median is an honest loss."""
    replies = [api.evaluation(i, 0.5 + i / 100, accuracy=0.9) for i in range(5)]
    lie = api.evaluation(9, value, 10**15, accuracy=value)
    assert not 0.5 <= api.evaluate(api.theirs.FedAvg(), [*replies, lie])["loss"] <= 0.54
    read = api.evaluate(api.ours.Median(), [*replies, lie])
    assert 0.5 <= read["loss"] <= 0.54
    assert read["accuracy"] == 0.9


@every_api
def test_a_majority_that_reports_nan_is_not_hidden(api, caplog):
    replies = [api.evaluation(i, NAN) for i in range(5)] + [api.evaluation(9, 0.01)]
    assert np.isnan(api.evaluate(api.theirs.FedAvg(), replies)["loss"])
    for strategy in (api.ours.Median(), api.ours.ByzantineRobust(api.theirs.FedAvg(), Median())):
        caplog.clear()
        assert np.isnan(api.evaluate(strategy, replies)["loss"])
        assert "no finite number as" in caplog.text


def test_evaluations_of_other_types():
    api = FitApi()
    replies = [api.evaluation(i, 0.5, accuracy=0.9) for i in range(5)]
    with pytest.raises(TypeError):
        api.evaluate(api.theirs.FedAvg(), [*replies, api.evaluation(9, None)])
    for loss in (None, "0.1", [0.1], True, 10**400):
        for metrics in (None, 3, [1], {"accuracy": [0.9]}, {"accuracy": None}, {1: 2}):
            proxy, result = api.evaluation(9, loss, None)
            result.metrics = metrics
            read = api.evaluate(api.ours.Median(), [*replies, (proxy, result)])
            assert read == {"loss": 0.5, "accuracy": 0.9}
    assert api.evaluate(api.ours.Median(), [*replies, (proxy, None)])["loss"] == 0.5


def calls(function):
    """How many functions a function calls, including those in C. It is the same number on every machine."""
    count = 0

    def called(frame, event, argument):
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(called)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count


@every_api
def test_a_hundred_thousand_tiny_tensors_take_no_time(api):
    """They are counted but not read. Reading a single tensor would take at least ten calls."""
    replies = [sent(api, LIES["100,000 tiny tensors"](MODEL), 4)]
    strategy = api.ours.Median()
    api.hand_out(strategy, MODEL)
    assert calls(lambda: api.aggregate(strategy, [*replies, *honest(api)])) < 400_000
    assert "100000 tensors, expected 2" in strategy.aggregator.last.dropped["4"]


@every_api
def test_too_few_good_replies_keep_the_model(api):
    strategy = api.ours.Krum(**{api.f_name: 1})
    api.hand_out(strategy, MODEL)
    assert verdict(api, honest(api, (1, 2, 2, 3))) == GOES_ON
    tensors, metrics = api.aggregate(strategy, honest(api, (1, 2, 3, 4)))
    assert tensors is None
    assert metrics["byzantine/skipped"] == 1
    found = {record.client: record.verdict for record in strategy.audit}
    assert found == {**dict.fromkeys("1234", "skipped"), "0": "failed"}


def test_the_first_model_is_nobodys_unless_it_is_asked_for(caplog):
    """Without a first model, Flower asks one client at random for it, and we warn of that."""
    for given in (None, Parameters([], "numpy.ndarray")):
        caplog.clear()
        strategy = FitApi.ours.Median(initial_parameters=given)
        assert strategy.initialize_parameters(SimpleClientManager()) is given
        warned = any("`initial_parameters`" in record.getMessage() for record in caplog.records)
        assert warned == (given is None)
    assert FedAvg().initialize_parameters(SimpleClientManager()) is None


def test_a_first_model_that_cannot_be_read_is_refused():
    manager = SimpleClientManager()
    for node in range(2):
        manager.register(Proxy(str(node)))
    model = Parameters([b"noise"], "numpy.ndarray")
    assert len(FedAvg().configure_fit(1, model, manager)) == 2
    with pytest.raises(ValueError, match=r"cannot be read: .* Pass `initial_parameters`"):
        FitApi.ours.Median().configure_fit(1, model, manager)


def test_every_line_of_the_documentation_names_its_tests():
    text = DOCS.read_text()
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", text)
    lines = [line for line in text.splitlines() if line.startswith("| ") and "---" not in line]
    assert len(named) >= len(LIES)
    assert [line for line in lines if "::test_" not in line and "| Test" not in line] == []
    for file, test in named:
        (source,) = [found.read_text() for found in Path(__file__).parents[1].rglob(file)]
        assert f"def {test}(" in source, f"{file}::{test}"
    for fault in [*LIES, *RECORDS, *FINE]:
        assert fault in text, fault
