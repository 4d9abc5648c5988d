"""Nodes that fail or do not answer are named in the audit and the log, and count towards f on request."""

import copy
import pickle

import numpy as np
import pytest
from flower import FitApi, Proxy, Sent, TrainApi, counted, every_api, message
from flwr.app import Error
from flwr.common import Code, EvaluateRes, FitRes, Parameters, Status
from flwr.server.server import evaluate_clients, fit_clients

from flwr_byzantine import rules
from flwr_byzantine.aggregation.outcome import TooFewUpdatesError
from flwr_byzantine.audit import AuditRecord, precision_recall, read_audit, table

MODEL = [np.zeros(3)]
TRACEBACK = "Traceback (most recent call last):\n" + '  File "app.py", line 1, in train\n' * 99


def verdicts(strategy, server_round=1):
    return {r.client: r.verdict for r in strategy.audit if r.round == server_round}


def reasons(strategy):
    return {r.client: r.reason for r in strategy.audit if r.verdict == "failed"}


def answers(api, nodes):
    return [api.reply(Sent(node, [np.full(3, float(node))])) for node in nodes]


def play(api, strategy, nodes, answering, errors=(), server_round=1):
    """Play a round in which ``nodes`` nodes are asked, and some of them answer."""
    api.hand_out(strategy, MODEL, server_round, nodes=nodes)
    return api.aggregate(strategy, [*answers(api, answering), *errors], server_round)


@every_api
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_node_that_fails_is_in_the_audit_and_the_log_by_name(api, wrapped, caplog, tmp_path):
    path = tmp_path / "audit.jsonl"
    strategy = (
        api.ours.ByzantineRobust(api.theirs.FedAvg(), rules.Median(), audit_log=path)
        if wrapped
        else api.ours.Median(audit_log=path)
    )
    tensors, metrics = play(api, strategy, 5, [0, 1, 3, 4], [api.error(2)])
    assert tensors is not None
    assert counted(metrics, "num_received", "num_failed") == (4, 1)
    assert verdicts(strategy)["2"] == "failed"
    assert sorted(verdicts(strategy)) == ["0", "1", "2", "3", "4"]
    assert "the client raised" in reasons(strategy)["2"]
    (line,) = [r.getMessage() for r in caplog.records if "failed: " in r.getMessage()]
    assert line.startswith("Round 1: client 2 failed: ")
    assert "the client raised" in line
    assert "2" in [r.client for r in read_audit(path)[0] if r.verdict == "failed"]


@every_api
def test_a_node_that_does_not_answer_is_named_too(api):
    strategy = api.ours.Median()
    play(api, strategy, 5, [0, 2, 4])
    assert reasons(strategy) == {"1": "no reply", "3": "no reply"}


@every_api
def test_a_round_in_which_all_fail_says_so(api):
    strategy = api.ours.Median()
    tensors, metrics = play(api, strategy, 3, [], [api.error(i) for i in range(3)])
    assert tensors is None
    assert counted(metrics, "num_received", "num_failed", "skipped") == (0, 3, 1)
    assert set(verdicts(strategy).values()) == {"failed"}


@every_api
def test_who_was_asked_in_another_round_has_not_failed_in_this(api):
    strategy = api.ours.Median()
    api.hand_out(strategy, MODEL, 1, nodes=9)
    api.aggregate(strategy, answers(api, range(3)), 2)
    assert sorted(verdicts(strategy, 2)) == ["0", "1", "2"]


@every_api
def test_a_wrapped_strategy_may_ask_nobody(api):
    """Flower takes None as an empty list."""

    class Idle(api.theirs.FedAvg):
        def _nobody(self, *arguments, **named):
            return None

        configure_fit = configure_train = configure_evaluate = _nobody

    strategy = api.ours.ByzantineRobust(Idle(), rules.Median())
    assert not api.hand_out(strategy, MODEL)
    hook = strategy.configure_evaluate
    assert not (hook(1, Parameters([], ""), None) if api.name == "fit" else hook(1, {}, {}, None))


@every_api
def test_a_strategy_is_copied_with_whom_it_asked(api):
    strategy = api.ours.Median()
    api.hand_out(strategy, MODEL, nodes=4)
    for again in (copy.deepcopy(strategy), pickle.loads(pickle.dumps(strategy))):
        api.aggregate(again, answers(api, [0, 1, 2]))
        assert reasons(again) == {"3": "no reply"}


class Failing(Proxy):
    """A client that trains and evaluates, or fails to."""

    def __init__(self, cid, outcome):
        super().__init__(cid)
        self.outcome = outcome

    def fit(self, ins, timeout, group_id):
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return FitRes(self.outcome, Parameters(ins.parameters.tensors, "numpy.ndarray"), 1, {})

    def evaluate(self, ins, timeout, group_id):
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return EvaluateRes(self.outcome, 0.5, 1, {})


def test_exceptions_of_several_clients_are_told_apart(caplog):
    """Flower does not say which client an exception belongs to."""
    ok = Status(Code.OK, "")
    outcomes = [
        ok,
        ValueError("no data"),
        ok,
        KeyError("lr"),
        Status(Code.FIT_NOT_IMPLEMENTED, "no"),
        ok,
    ]
    strategy = FitApi.ours.Median()
    asked = FitApi().hand_out(strategy, MODEL, nodes=len(outcomes))
    clients = [(Failing(proxy.cid, outcomes[int(proxy.cid)]), ins) for proxy, ins in asked]
    strategy.aggregate_fit(1, *fit_clients(clients, None, None, 1))
    assert reasons(strategy) == {
        "1": "ValueError: no data", "3": "KeyError: 'lr'", "4": "status FIT_NOT_IMPLEMENTED: no",
    }  # fmt: skip
    caplog.clear()
    strategy.aggregate_evaluate(1, *evaluate_clients(clients, None, None, 1))
    (line,) = [r.getMessage() for r in caplog.records if "failed: " in r.getMessage()]
    assert line.startswith("Evaluation 1: client 1 failed: ValueError: no data; client 3 failed: ")
    assert line.count("failed: ") == 3


def test_exceptions_that_belong_to_nobody_known_are_said_of_all_who_are_missing():
    strategy = FitApi.ours.Median()
    play(FitApi(), strategy, 5, [0, 1, 2], [ValueError("a"), ValueError("b")])
    assert reasons(strategy) == dict.fromkeys("34", "one of: ValueError: a; ValueError: b")
    alone = FitApi.ours.Median()
    FitApi().aggregate(alone, [*answers(FitApi(), range(3)), ValueError("a"), ValueError("a")])
    assert reasons(alone) == dict.fromkeys(["unknown-1", "unknown-2"], "ValueError: a")


def test_failures_of_other_kinds_are_named_as_far_as_they_say_who_they_are():
    strategy = FitApi.ours.Median()
    strategy.aggregate_fit(1, answers(FitApi(), range(3)), [(Proxy("7"), None), None])
    expected = {
        "7": "unreadable failure (AttributeError)",
        "unknown-1": "unreadable failure (TypeError)",
    }
    assert reasons(strategy) == expected


def test_the_superlinks_errors_are_those_of_the_node_that_is_gone():
    """If a SuperNode was killed, Flower reports an error of node 1, in reply to that SuperNode's message."""
    api, strategy = TrainApi(), TrainApi.ours.Median()
    sent = api.hand_out(strategy, MODEL, nodes=6)
    for number, asked in enumerate(sent):
        vars(asked.metadata)["_message_id"] = f"m{number}"
    gone = [asked.metadata.dst_node_id for asked in sent[2:4]]
    errors = []
    for number in (2, 3):
        error = message(1, None, error=Error(code=5, reason=f"Node Unavailable {number}"))
        vars(error.metadata)["_reply_to_message_id"] = f"m{number}"
        errors.append(error)
    there = [node for node in range(6) if node not in gone]
    api.aggregate(strategy, [*answers(api, there), *errors])
    expected = {str(gone[0]): "Node Unavailable 2", str(gone[1]): "Node Unavailable 3"}
    assert reasons(strategy) == expected


def test_the_superlinks_error_without_a_message_id():
    api, strategy = TrainApi(), TrainApi.ours.Median()
    vars(strategy)["min_available_nodes"] = 3
    sent = api.hand_out(strategy, MODEL, nodes=9)
    asked = sorted(m.metadata.dst_node_id for m in sent)
    assert asked == list(range(9))
    error = message(1, None, error=Error(code=5, reason="unavailable"))
    api.aggregate(strategy, [*answers(api, [0, *range(2, 9)]), error])
    assert reasons(strategy) == {"1": "unavailable"}


@every_api
def test_reasons_keep_their_end_where_the_cause_is(api):
    text = TRACEBACK + "KeyError: 'learning-rate'"
    error = RuntimeError(text) if api.name == "fit" else message(2, None, error=Error(1, text))
    strategy = api.ours.Median()
    play(api, strategy, 4, [0, 1, 3], [error])
    reason = reasons(strategy)["2"]
    assert reason.endswith("KeyError: 'learning-rate'")
    assert "Traceback" in reason
    assert reason.isprintable()
    assert len(reason) < 450


@every_api
def test_failing_evaluations_are_in_the_log_by_name(api, caplog):
    strategy = api.ours.Median()
    if api.name == "fit":
        status = EvaluateRes(Status(Code.EVALUATE_NOT_IMPLEMENTED, "no evaluate"), 0.0, 0, {})
        replies = [api.evaluation(i, 0.5) for i in range(3)]
        strategy.aggregate_evaluate(1, replies, [(Proxy("7"), status)])
    else:
        error = message(7, None, "evaluate", error=Error(1, "no evaluate"))
        api.evaluate(strategy, [*(api.evaluation(i, 0.5) for i in range(3)), error])
    assert "Evaluation 1: client 7 failed:" in caplog.text
    assert "no evaluate" in caplog.text
    assert strategy.audit == ()


def test_failures_that_are_not_accepted_skip_the_round_and_are_named():
    api = FitApi()
    for strategy in (
        api.ours.Median(accept_failures=False),
        api.ours.ByzantineRobust(api.theirs.FedAvg(accept_failures=False), rules.Median()),
    ):
        tensors, _ = play(api, strategy, 4, [0, 1, 3], [api.error(2)])
        assert tensors is None
        assert verdicts(strategy) == {**dict.fromkeys("013", "skipped"), "2": "failed"}


# -- count_failures -------------------------------------------------------------------------------------


@every_api
@pytest.mark.parametrize("wrapped", [False, True])
def test_failures_count_against_the_promise_where_that_is_asked_for(api, wrapped, caplog):
    def krum(**options):
        if wrapped:
            return api.ours.ByzantineRobust(api.theirs.FedAvg(), rules.Krum(2), **options)
        return api.ours.Krum(**{api.f_name: 2}, **options)

    usual = krum()
    assert play(api, usual, 7, range(6), [api.error(6)])[0] is None  # n = 6, and f = 2 needs 7
    counting = krum(count_failures=True)
    tensors, metrics = play(api, counting, 7, range(6), [api.error(6)])
    assert tensors is not None  # the failed node counts as one of the two
    assert counted(metrics, "f_lowered_by", "num_failed", "skipped") == (1, 1, 0)
    assert "f is lowered by 1" in caplog.text
    tensors, metrics = play(api, counting, 10, range(8), [api.error(8), api.error(9)])
    assert tensors is not None
    assert counted(metrics, "f_lowered_by") == (0,)  # enough are left for f = 2
    tensors, metrics = play(api, counting, 12, range(9), [api.error(i) for i in (9, 10, 11)], 2)
    assert tensors is None
    assert counted(metrics, "skipped") == (1,)
    assert "3 of 12 clients failed, which `count_failures` counts as Byzantine" in caplog.text


@every_api
@pytest.mark.parametrize("wrapped", [False, True])
def test_failures_count_against_a_share_too(api, wrapped):
    if wrapped:
        rule, wrapped_one = rules.Krum(0.2), api.theirs.FedAvg()
        strategy = api.ours.ByzantineRobust(wrapped_one, rule, count_failures=True)
    else:
        strategy = api.ours.Krum(**{api.f_name: 0.2}, count_failures=True)

    def outcome(asked, failed):
        errors = [api.error(i) for i in range(asked - failed, asked)]
        tensors, metrics = play(api, strategy, asked, range(asked - failed), errors)
        assert (tensors is None) == metrics["byzantine/skipped"]
        return counted(metrics, "skipped", "f_lowered_by")

    assert outcome(10, 2) == (0, 0)  # 2 of 10 failed, f = 2; 8 replies are enough for f = 2
    assert outcome(10, 3) == (1, 0)
    assert outcome(7, 2) == (0, 0)  # 2 of 7 failed, f = 2; 5 replies are enough for f = 1
    assert outcome(8, 2) == (0, 1)  # 6 replies have f = 2, which needs 7


@every_api
def test_nodes_that_do_not_answer_count_too(api):
    strategy = api.ours.TrimmedMean(**{api.f_name: 1}, count_failures=True, on_too_few="raise")
    assert play(api, strategy, 6, range(5))[0] is not None
    with pytest.raises(
        TooFewUpdatesError, match=r"2 of 6 .* Failed: 4 \(no reply\), 5 \(no reply\)\."
    ):
        play(api, strategy, 6, range(4))
    patient = api.ours.TrimmedMean(**{api.f_name: 1})
    assert play(api, patient, 6, range(4))[0] is not None


@every_api
def test_rules_without_f_are_promised_a_majority_or_nobody(api):
    median = api.ours.Median(count_failures=True)
    assert play(api, median, 7, range(4))[0] is not None
    assert play(api, median, 8, range(4))[0] is None
    assert play(api, api.ours.Mean(count_failures=True), 5, range(4))[0] is None
    assert play(api, api.ours.Mean(), 5, range(4))[0] is not None


@every_api
def test_any_number_may_fail_under_reputations(api):
    def gradient(parameters, server_round):
        return [np.ones(3)]

    strategy = api.ours.ByGARS(auxiliary=gradient, count_failures=True)
    assert play(api, strategy, 7, [3])[0] is not None


@every_api
def test_count_failures_is_checked(api):
    with pytest.raises(ValueError, match="`count_failures` should be True or False"):
        api.ours.Median(count_failures="yes")


def test_failures_are_no_rejections():
    records = [AuditRecord(1, "7", "failed", reason="no reply"), AuditRecord(1, "8", "kept")]
    assert precision_recall(records, {"7"}) == (None, None)
    lines = list(table(records))
    assert lines[0].split()[-3:] == ["mostly", "because"] or "failed" in lines[0]
    assert any(line.startswith("7") and line.endswith("no reply") for line in lines)
