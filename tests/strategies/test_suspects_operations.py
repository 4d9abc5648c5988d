"""What operators do with suspects: alerts, quarantine, pardons, names, restarts and pages."""

import json
import logging
from types import SimpleNamespace

import numpy as np
import pytest
from cases import gaussian
from flower import FitApi, Sent, TrainApi, every_api, replies_of
from flwr.app import Error
from grids import FIRST, HOSTILE, RULE, START, AnsweringGrid, except_for, lying, train_messages
from quadratic import Quadratic

from flwr_byzantine import rules
from flwr_byzantine.audit import Audit, AuditRecord, Evidence, Suspicion, read_audit
from flwr_byzantine.commands.cli import main
from flwr_byzantine.serverapp import RobustGrid

FAR = -1e20
D = 20
EVIL = {"100"}


def play(api, strategy, rounds, n=7, change=None, first=1):
    """Play rounds in which node 100 sends far values, unless `change` replaces its reply."""
    metrics = {}
    for server_round in range(first, first + rounds):
        api.hand_out(strategy, [np.zeros(D)], server_round)
        x = gaussian(n, D, seed=server_round)
        x[0] = FAR
        replies = replies_of(api, x)
        if change is not None:
            replies = change(replies, server_round)
        _, metrics = api.aggregate(strategy, replies, server_round)
    return metrics


def test_wrappers_and_grids_have_suspects_too():
    for api in (FitApi(), TrainApi()):
        strategy = api.ours.ByzantineRobust(api.theirs.FedAvg(), rules.TrimmedMean(2))
        metrics = play(api, strategy, 3)
        assert strategy.suspects == EVIL
        assert metrics["byzantine/num_suspects"] == 1

    grid = RobustGrid(AnsweringGrid(except_for(lying("1e20"))), RULE)
    for _ in range(3):
        list(grid.send_and_receive(train_messages(START)))
    assert grid.suspects == {str(FIRST + HOSTILE)}
    assert grid.metrics["byzantine/num_suspects"] == 1
    grid.pardon(FIRST + HOSTILE)
    assert grid.suspects == set()


def test_a_grid_answers_for_who_is_in_quarantine():
    grid = RobustGrid(AnsweringGrid(except_for(lying("1e20"))), RULE, quarantine=True)
    for _ in range(4):
        replies = list(grid.send_and_receive(train_messages(START)))
    errors = [reply for reply in replies if reply.has_error()]
    assert [reply.metadata.src_node_id for reply in errors] == [FIRST + HOSTILE]
    assert "quarantine" in errors[0].error.reason
    assert len(replies) == 10


@every_api
@pytest.mark.parametrize("name", ["ByGARS", "ByGARSPlusPlus", "FLTrust"])
@pytest.mark.parametrize("payload", ["parameters", "gradients"])
def test_reputations_have_suspects_too(api, name, payload):
    strategy = getattr(api.ours, name)(auxiliary=Quadratic(np.ones(D)), payload=payload)
    play(api, strategy, 4)
    assert strategy.suspects == EVIL


@every_api
def test_alerts_are_called_once_and_may_fail(api, caplog):
    told = []

    def alert(server_round, client, evidence):
        told.append((server_round, client, evidence))
        raise RuntimeError("no mail server")

    strategy = api.ours.Phocas(**{api.f_name: 2}, on_suspect=alert)
    play(api, strategy, 6)
    ((server_round, client, evidence),) = told
    assert (server_round, client) == (3, "100")
    assert isinstance(evidence, Evidence)
    assert evidence.rounds == (1, 2, 3)
    assert "times as long as usual" in str(evidence)
    errors = [r.getMessage() for r in caplog.records if r.levelname == "ERROR"]
    assert len(errors) == 1
    assert "no mail server" in errors[0]


@every_api
def test_quarantine_leaves_out_at_most_f_and_is_revocable(api, caplog):
    def three(replies, server_round):
        x = gaussian(9, D, seed=server_round)
        x[:3] = FAR
        return replies_of(api, x)

    strategy = api.ours.TrimmedMean(**{api.f_name: 2}, quarantine=True)
    play(
        api, strategy, 3, change=three
    )  # three attackers are one more than f: (n - f)-th is honest
    last = strategy.aggregator.last
    assert not last.quarantined
    assert last.counts["num_suspects"] == len(strategy.suspects)
    strategy = api.ours.TrimmedMean(**{api.f_name: 2}, quarantine=True)
    play(api, strategy, 4)
    assert strategy.aggregator.last.quarantined.keys() == EVIL
    records = {r.client: r for r in strategy.audit if r.round == 4}
    assert records["100"].verdict == "quarantined"
    assert records["100"].stands_out
    assert len(strategy.aggregator.last.accepted) == 6
    assert any("left out" in r.getMessage() for r in caplog.records if r.levelname == "WARNING")
    strategy.pardon(100)
    assert strategy.suspects == set()
    play(api, strategy, 1, first=5)
    assert not strategy.aggregator.last.quarantined
    play(api, strategy, 2, first=6)
    assert strategy.suspects == EVIL  # it became a suspect again
    with pytest.raises(ValueError, match="Parameter `client` should be the id of a suspect"):
        strategy.pardon("101")


@every_api
def test_quarantine_lowers_f_no_further_than_it_has_to(api):
    """With n = 2f + 1, quarantine leaves n - 1 replies, which are enough for f - 1."""
    strategy = api.ours.TrimmedMean(**{api.f_name: 3}, quarantine=True)
    metrics = play(api, strategy, 4)
    assert metrics["byzantine/skipped"] == 0
    assert metrics["byzantine/f_lowered_by"] == 1
    strategy = api.ours.TrimmedMean(**{api.f_name: 2}, quarantine=True)
    metrics = play(api, strategy, 4)
    assert metrics["byzantine/f_lowered_by"] == 0


def test_no_more_than_f_are_left_out(caplog):
    api = TrainApi()
    strategy = api.ours.TrimmedMean(num_malicious_nodes=1, quarantine=True)

    def in_turns(replies, server_round):
        x = gaussian(9, D, seed=server_round)
        x[server_round // 4] = FAR
        return replies_of(api, x)

    play(api, strategy, 8, change=in_turns)
    assert strategy.suspects == {"100", "101"}
    strategy.aggregator.last = None
    play(api, strategy, 1, first=12)
    assert strategy.aggregator.last.quarantined.keys() == {"100"}
    assert "leaves out at most f = 1: 101" in caplog.text


@every_api
def test_suspects_are_in_the_checkpoint(api, tmp_path):
    def make():
        return api.ours.Phocas(
            **{api.f_name: 2}, checkpoint=tmp_path / "run", suspicion=Suspicion()
        )

    first = make()
    play(api, first, 2)
    first.checkpoints.release()
    again = make()
    play(api, again, 1, first=3)  # resumes after round 2
    assert again.suspects == EVIL
    again.checkpoints.release()
    third = make()
    api.hand_out(third, [np.zeros(D)], 4)
    assert third.suspects == EVIL
    third.checkpoints.release()


def test_checkpoints_of_earlier_versions_are_read(tmp_path):
    api = FitApi()
    strategy = api.ours.Phocas(num_malicious_clients=2)
    strategy.load_state_dict({"aggregator": {}})
    assert strategy.suspects == set()


@every_api
@pytest.mark.parametrize("kind", ["malformed", "error"])
def test_who_fails_again_and_again_is_a_suspect_and_the_reason_says_so(api, kind, caplog):
    def change(replies, server_round):
        bad = api.reply(Sent(100, [np.zeros(3)])) if kind == "malformed" else api.error(100)
        return [bad, *replies[1:]]

    strategy = api.ours.Phocas(**{api.f_name: 2})
    for server_round in range(1, 4):
        if kind == "error" and api.name == "fit":
            pytest.skip("if nobody was asked, an error does not name its client")
        play(api, strategy, 1, change=change, first=server_round)
    assert strategy.suspects == EVIL
    (said,) = [r.getMessage() for r in caplog.records if "is a suspect now" in r.getMessage()]
    assert ("malformed: " if kind == "malformed" else "failed: ") in said


def test_who_is_not_reached_is_no_suspect():
    api = TrainApi()
    strategy = api.ours.Phocas(num_malicious_nodes=2)
    for server_round in range(1, 6):
        api.hand_out(strategy, [np.zeros(D)], server_round)
        gone = api.error(100)
        gone.error = Error(5, "Error: Node Unavailable")
        replies = replies_of(api, gaussian(8, D, seed=server_round))[1:]
        api.aggregate(strategy, [gone, *replies], server_round)
    assert strategy.suspects == set()


@every_api
def test_a_fault_of_the_run_is_nobodys(api):
    """Half of the nodes send malformed replies, so the server's own model may be the wrong one."""
    strategy = api.ours.Median()

    def half(replies, server_round):
        return [api.reply(Sent(100 + i, [np.zeros(3)])) for i in range(4)] + replies[4:]

    play(api, strategy, 5, change=half)
    assert strategy.suspects == set()


@every_api
def test_at_most_three_lines_a_round_name_who_was_rejected(api, caplog):
    caplog.set_level(logging.INFO)
    strategy = api.ours.Median()

    def bad(replies, server_round):
        return [api.reply(Sent(100 + i, [np.zeros(30 + i)])) for i in range(30)] + replies[30:]

    play(api, strategy, 3, n=100, change=bad)
    for server_round in (1, 2, 3):
        lines = [
            r.getMessage()
            for r in caplog.records
            if r.getMessage().startswith(f"Round {server_round}:") and r.levelname == "WARNING"
        ]
        assert 0 < len(lines) <= 3
        assert "dropped client 100: " in lines[0]
        assert "and 10 more" in lines[0]


def test_names_that_keys_were_registered_with():
    api = TrainApi()
    nodes = [SimpleNamespace(node_id=100 + i, name=f"site {i}") for i in range(7)]
    grid = SimpleNamespace(get_nodes=lambda: nodes)
    strategy = api.ours.Phocas(num_malicious_nodes=2)
    strategy.aggregator.watch.learn_names(grid, ["100"])
    play(api, strategy, 3)
    assert {r.name for r in strategy.audit if r.client == "100"} == {"site 0"}


@every_api
@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (None, "partition-id 3"),
        ("hospital", "hospital north"),
        ({100: "north"}, "north"),
        ({"100": "a\nb"}, "ab"),
        ({"7": "south"}, "partition-id 3"),
    ],
)
def test_names_people_know(api, told, expected, tmp_path):
    if api.name == "train" and told == "hospital":
        pytest.skip("metrics of the Message API are numbers")
    log = tmp_path / "audit.jsonl"
    strategy = api.ours.Phocas(**{api.f_name: 2}, node_names=told, audit_log=log)
    metrics = {"partition-id": 3}
    if api.name == "fit":
        metrics["hospital"] = "north"

    def named(replies, server_round):
        return [api.reply(Sent(100, [np.full(D, FAR)], metrics=metrics)), *replies[1:]]

    play(api, strategy, 1, change=named)
    assert next(r.name for r in strategy.audit if r.client == "100") == expected
    assert next(r.name for r in read_audit(log)[0] if r.client == "100") == expected


@every_api
@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"suspicion": 3}, "`suspicion` should be a `Suspicion`"),
        ({"on_suspect": "mail"}, "`on_suspect` should be a function"),
        ({"quarantine": 1}, "`quarantine` should be True or False"),
        ({"node_names": 3}, "`node_names` should be names by node id"),
        ({"node_names": {1: 2}}, "`node_names` should be names by node id"),
    ],
)
def test_wrong_settings_raise(api, settings, match):
    with pytest.raises(ValueError, match=match):
        api.ours.Median(**settings)


@pytest.mark.parametrize("settings", [
    {"factor": 1}, {"factor": "x"}, {"rounds": 0}, {"of": 2}, {"wide_factor": 0}, {"wide_factor": 49},
])  # fmt: skip
def test_wrong_suspicions_raise(settings):
    (name,) = settings
    with pytest.raises(ValueError, match=f"Parameter `{name}` of Suspicion should be"):
        Suspicion(**settings)


SAID = {"used": 0.1, "size": 1e19, "stands_out": "an update & more", "name": "x\u202ey"}
RECORDS = [
    *[AuditRecord(r, "<evil>", "kept", suspect=r > 2, **SAID) for r in (1, 2, 3)],
    *[AuditRecord(r, "good", "trimmed", used=0.2, size=1.0) for r in (1, 2, 3)],
]


def test_the_command_shows_suspects_first_and_makes_a_page(tmp_path, capsys):
    log = tmp_path / "audit.jsonl"
    Audit(log).add(RECORDS)
    assert main(["audit", str(log), "--html"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("<evil> (xy)")
    assert lines[1].endswith("SUSPECT: an update & more")
    assert lines[2].startswith("good ")
    page = (tmp_path / "audit.html").read_text()
    assert "&lt;evil&gt;" in page
    assert "<evil>" not in page
    assert "an update &amp; more" in page
    assert page.count("<td class=") >= 6
    for outside in ("http:", "https:", "src=", "<script"):
        assert outside not in page
    assert main(["audit", str(log), str(tmp_path / "other.html"), "--html"]) == 0
    assert (tmp_path / "other.html").exists()
    assert main(["audit", str(log), str(tmp_path / "no" / "page.html")]) == 2


def test_files_of_earlier_versions_are_read(tmp_path):
    log = tmp_path / "audit.jsonl"
    new = json.loads(AuditRecord(1, "a", "kept").to_json())
    for later in ("used", "size", "stands_out", "suspect", "name"):
        new.pop(later)
    log.write_text(json.dumps(new) + "\n")
    assert read_audit(log) == ([AuditRecord(1, "a", "kept")], 0)
    assert main(["audit", str(log), "--html"]) == 0


@pytest.mark.parametrize(
    ("key", "value"), [("suspect", 1), ("size", "x"), ("used", []), ("stands_out", 3), ("name", {})]
)
def test_other_values_are_no_records(tmp_path, key, value):
    log = tmp_path / "audit.jsonl"
    log.write_text(json.dumps(json.loads(AuditRecord(1, "a", "kept").to_json()) | {key: value}))
    assert read_audit(log) == ([], 1)


@every_api
def test_many_failures_are_few_lines(api, caplog):
    """One line names all second replies of a round, and one line all failures of an evaluation."""
    strategy = api.ours.TrimmedMean(**{api.f_name: 2})
    x = gaussian(30, D)
    api.hand_out(strategy, [np.zeros(D)])
    caplog.clear()
    api.aggregate(strategy, [*replies_of(api, x), *replies_of(api, x)])
    (line,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert line.startswith("Ignored another reply of 100; 101; ")
    assert line.endswith("; and 10 more")
    caplog.clear()
    good = [api.evaluation(100 + i, 0.5) for i in range(20)]
    if api.name == "fit":
        failures = [RuntimeError("no data")] * 30
        strategy.aggregate_evaluate(server_round=1, results=good, failures=failures)
    else:
        api.evaluate(strategy, [*good, *(api.error(120 + i) for i in range(30))])
    (line,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert line.startswith("Evaluation 1: client ")
    assert line.endswith("; and 10 more")


def test_ids_and_names_of_any_length_fit_in_a_line(tmp_path, capsys):
    """The audit log may come from anybody."""
    path = tmp_path / "audit.jsonl"
    records = [
        AuditRecord(1, "8" * 100_000, "kept", name="n" * 100_000),
        AuditRecord(1, "9", "kept"),
    ]
    path.write_text("".join(record.to_json() + "\n" for record in records))
    assert main(["audit", str(path), "--html"]) == 0
    assert all(len(line) < 400 for line in capsys.readouterr().out.splitlines())
