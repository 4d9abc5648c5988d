"""The audit: what it says about each client, what it writes to disk, and how shares are counted."""

import json
import math
import threading
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from cases import every_strategy, gaussian
from flower import Sent, TrainApi, every_api, replies_of, strategy_of

from flwr_byzantine import rules
from flwr_byzantine.aggregation.kept_shares import SAMPLE, kept_shares
from flwr_byzantine.aggregation.outcome import TooFewUpdatesError
from flwr_byzantine.audit import (
    Audit,
    AuditRecord,
    PrecisionRecall,
    precision_recall,
    read_audit,
    table,
)
from flwr_byzantine.audit import file as audit_file
from flwr_byzantine.commands.cli import main
from flwr_byzantine.kernels import Columns, Reduction

D = 40


def audited(api, strategy, updates, extra=(), server_round=1):
    """The audit of one round: client -> record."""
    api.aggregate(strategy, [*replies_of(api, updates), *extra], server_round)
    records = [record for record in strategy.audit if record.round == server_round]
    assert len({record.client for record in records}) == len(records)
    return {record.client: record for record in records}


def attacked(n, f, value=1e6):
    x = gaussian(n, D)
    x[:f] = value
    return x


@every_api
@every_strategy
def test_every_rule_tells_attackers_from_honest_clients(api, case):
    f, n = (1, case.enough(1)) if case.takes_f else (0, 7)
    records = audited(api, strategy_of(api, case, f), attacked(n, f))
    assert len(records) == n
    attackers = [records[str(100 + i)] for i in range(f)]
    if case.weighs_all:
        assert all(record.share < 1e-5 for record in attackers)
    else:
        assert all(record.verdict in ("trimmed", "not selected") for record in attackers)
        assert all(record.share == 0 for record in attackers)
    assert any(record.verdict == "kept" for record in records.values())
    assert sum(record.share for record in records.values()) > 0.9


@every_api
def test_scores_are_krums(api):
    x = attacked(9, 2)
    records = audited(api, api.ours.MultiKrum(**{api.f_name: 2}), x)
    distances = ((x[:, None] - x[None]) ** 2).sum(axis=2)
    for i in range(9):
        nearest = np.sort(np.delete(distances[i], i))[:5]
        assert records[str(100 + i)].score == pytest.approx(nearest.sum())
    kept = {client for client, record in records.items() if record.verdict == "kept"}
    assert kept == set(sorted(records, key=lambda client: records[client].score)[:5])


@every_api
def test_dropped_and_skipped_carry_their_reason(api):
    strategy = api.ours.Median()
    bad = api.reply(Sent(7, [np.zeros(3)]))
    records = audited(api, strategy, gaussian(5, D), [bad])
    assert records["7"].verdict == "dropped"
    assert "(3,)" in records["7"].reason
    assert records["7"].share is records["7"].score is None
    strategy.aggregator.rule = rules.TrimmedMean(4)
    records = audited(api, strategy, gaussian(5, D), server_round=2)
    assert {record.verdict for record in records.values()} == {"skipped"}
    assert {record.reason for record in records.values()} == {strategy.aggregator.last.reason}


@every_api
def test_equal_values_are_kept_together(api):
    """A client is not called trimmed because it sends the value that everybody sends."""
    records = audited(api, api.ours.Median(), np.ones((9, D)))
    assert {(record.verdict, record.share) for record in records.values()} == {("kept", 1.0)}


def exact_shares(x, reduction):
    """The exact shares, coordinate by coordinate, in plain Python."""
    n, d = x.shape
    kept = np.zeros(n)
    for column in x.T:
        values = [math.inf if math.isnan(v) else float(v) for v in column]
        bad, limit = sum(map(math.isinf, values)), reduction.trim
        ordered = sorted(values)
        used = ordered[reduction.trim : n - reduction.trim]
        if reduction.keep is not None:
            limit = min(limit, n - reduction.keep)
            if bad <= limit:
                center = sum(used) / len(used)
                used = sorted(values, key=lambda v: abs(v - center))[: reduction.keep]
        if bad <= limit:
            kept += [v in used for v in values]
    return kept / d


@pytest.mark.parametrize("reduction", [Reduction(4), Reduction(2), Reduction(2, 7), Reduction(0)])
def test_shares_are_counted_exactly_where_all_coordinates_are_sampled(reduction):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(9, 250)).astype(np.float32)
    x[rng.random(x.shape) < 0.08] = np.nan
    x[rng.random(x.shape) < 0.08] = np.inf
    parts = np.split(x, [0, 17, 17, 200], axis=1)
    columns = Columns(
        [[np.ascontiguousarray(row) for row in part] for part in parts], np.dtype(np.float32), 9
    )
    np.testing.assert_allclose(kept_shares([columns], reduction), exact_shares(x, reduction))


def test_shares_of_large_models_are_sampled_evenly():
    x = np.zeros((5, 100 * SAMPLE), np.float32)
    x[0, : 50 * SAMPLE] = 9.0
    parts = [[row[:70] for row in x], [row[70:] for row in x]]
    shares = kept_shares([Columns(parts, np.dtype(np.float32), 5)], Reduction(1))
    assert shares[0] == pytest.approx(0.5, abs=0.01)
    assert shares[1:] == pytest.approx(1)


def test_counting_costs_little():
    """Counting takes a sample, so its memory does not grow with the model, up to a million parameters."""
    peaks = []
    for d in (10**4, 10**5, 10**6):
        x = [np.random.default_rng(i).normal(size=d).astype(np.float32) for i in range(20)]
        columns = Columns([x], np.dtype(np.float32), 20)
        tracemalloc.start()
        kept_shares([columns], Reduction(4, 16))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert max(peaks[1:]) < 1.5 * peaks[0]
    assert max(peaks) < 20 * SAMPLE * 8 * 10  # ten times the memory of the sample


@every_api
def test_the_log_holds_what_the_audit_holds(api, tmp_path):
    path = tmp_path / "audit.jsonl"
    strategy = api.ours.Krum(**{api.f_name: 1}, audit_log=path)
    for server_round in (1, 2, 3):
        x = attacked(6, 1, value=np.nan if server_round == 2 else 1e6)
        audited(api, strategy, x, [api.reply(Sent(7, [b"\x00"]))], server_round)
    lines = path.read_text().splitlines()
    assert len(lines) == 21

    def strict(constant):
        raise AssertionError(constant)

    for line in lines:
        json.loads(line, parse_constant=strict)  # NaN and Infinity are not JSON
    records, unreadable = read_audit(path)
    assert unreadable == 0
    finite = [replace(r, score=None if r.score == math.inf else r.score) for r in strategy.audit]
    assert records == finite


def test_torn_lines_are_left_out_and_harm_no_other(tmp_path):
    path = tmp_path / "audit.jsonl"
    Audit(path).add([AuditRecord(1, "a", "kept"), AuditRecord(1, "b", "kept")])
    path.write_bytes(path.read_bytes()[:-20])
    again = Audit(path)
    again.add([AuditRecord(2, "b", "dropped", reason="x")])
    path.write_bytes(path.read_bytes() + b'{"round": 3, "cl\xff')
    records, unreadable = read_audit(path)
    assert unreadable == 2
    assert records == [AuditRecord(1, "a", "kept"), AuditRecord(2, "b", "dropped", reason="x")]


def test_every_line_says_which_start_it_belongs_to(tmp_path):
    path = tmp_path / "audit.jsonl"
    audit = Audit(path)
    for server_round in (1, 2):
        audit.add([AuditRecord(server_round, "a", "kept")])
    Audit(path).add([AuditRecord(3, "a", "kept")])
    ids = [json.loads(line)["run_id"] for line in path.read_text().splitlines()]
    assert ids[0] == ids[1] == audit.run_id == read_audit(path)[0][0].run_id
    assert ids[2] != ids[0]
    assert all(isinstance(run_id, str) and run_id for run_id in ids)


def test_a_round_that_is_repeated_is_not_mixed(tmp_path, capsys):
    """A run was stopped in round 2 and resumed. The file holds an older run too. The newest start counts."""
    path = tmp_path / "audit.jsonl"
    old = json.loads(AuditRecord(4, "old", "kept").to_json())
    old.pop("run_id")  # as in a version without run ids
    path.write_text(json.dumps(old) + "\n")
    first = Audit(path)
    for server_round in (1, 2, 3):
        first.add([AuditRecord(server_round, client, "kept") for client in "ab"])
    second = Audit(path)
    for server_round in (2, 3):
        second.add([AuditRecord(server_round, client, "kept") for client in "ac"])
    third = Audit(path)
    third.add([AuditRecord(3, "d", "kept")])
    records, _ = read_audit(path)
    seen = {(record.round, record.client) for record in records}
    assert seen == {(1, "a"), (1, "b"), (2, "a"), (2, "c"), (3, "d")}
    assert main(["audit", str(path)]) == 0
    assert "7 records are left out" in capsys.readouterr().err


def test_what_is_in_memory_is_not_mixed_either():
    audit = Audit()
    for server_round in (1, 2, 3):
        audit.add([AuditRecord(server_round, "a", "kept")])
    audit.begin()
    audit.add([AuditRecord(2, "b", "kept")])
    audit.add([AuditRecord(3, "b", "kept")])
    assert [(r.round, r.client) for r in audit.records] == [(1, "a"), (2, "b"), (3, "b")]
    assert len({record.run_id for record in audit.records}) == 2


@pytest.mark.parametrize("odd", ["\x1b[31m", "\x00", "\x9b2J", "\r\n", "\u202e", "\u2028", "\x7f"])
def test_control_characters_are_stripped(tmp_path, odd, capsys):
    path = tmp_path / "audit.jsonl"
    path.write_text(AuditRecord(1, f"a{odd}b", "dropped", reason=f"c{odd}d").to_json() + "\n")
    (record,), _ = read_audit(path)
    assert record.client.isprintable()
    assert record.reason.isprintable()
    assert (record.client[0], record.client[-1]) == ("a", "b")
    assert (record.reason[0], record.reason[-1]) == ("c", "d")
    assert main(["audit", str(path)]) == 0
    assert capsys.readouterr().out.replace("\n", "").isprintable()


@pytest.mark.parametrize("write", ["full", "gone"])
def test_a_log_that_cannot_be_written_does_not_end_the_run(tmp_path, caplog, monkeypatch, write):
    folder = tmp_path / "folder"
    folder.mkdir()
    audit = Audit(folder / "audit.jsonl")
    audit.add([AuditRecord(1, "a", "kept")])
    if write == "gone":  # the folder was moved away, so a new one is made
        folder.rename(tmp_path / "moved")
        audit.add([AuditRecord(2, "a", "kept")])
        assert [record.round for record in read_audit(folder / "audit.jsonl")[0]] == [2]
        return

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(audit_file.os, "fsync", full)
    audit.add([AuditRecord(2, "a", "kept")])
    (error,) = [r.getMessage() for r in caplog.records if r.levelname == "ERROR"]
    assert "audit.jsonl" in error
    assert "No space left" in error
    assert len(audit.records) == 2


@pytest.mark.parametrize(
    "line",
    [
        "", "null", "[]", "3", '{"round": 1}', "[" * 10_000, '{"round": 1, "client": 5, "verdict": '
        '"kept", "score": null, "share": null, "reason": null}', '{"round": "1", "client": "5", '
        '"verdict": "kept", "score": null, "share": null, "reason": null}', '{"round": 1, "client": '
        '"5", "verdict": "fine", "score": null, "share": null, "reason": null}',
    ],
)  # fmt: skip
def test_other_lines_are_left_out(tmp_path, line):
    path = tmp_path / "audit.jsonl"
    path.write_text(line + "\n")
    assert read_audit(path) == ([], 1)


def test_what_clients_write_stays_on_one_short_line(tmp_path):
    api = TrainApi()  # in the other API, clients do not name tensors
    path = tmp_path / "audit.jsonl"
    strategy = api.ours.Median(audit_log=path)
    name = 'x\n{"round": 1}\x1b[31m' + "y" * 10**6
    api.hand_out(strategy, [np.zeros(D)])
    audited(api, strategy, gaussian(5, D), [api.reply(Sent(7, {name: np.zeros(D)}))])
    reason = next(r.reason for r in strategy.audit if r.client == "7")
    assert len(reason) < 250
    assert reason.isprintable()
    assert len(path.read_text().splitlines()) == 6


def test_memory_is_bounded_by_whole_rounds(monkeypatch):
    monkeypatch.setattr(audit_file, "MAX_RECORDS", 10)
    audit = Audit()
    for server_round in range(50):
        audit.add([AuditRecord(server_round, str(i), "kept") for i in range(4)])
    assert [record.round for record in audit.records] == [48] * 4 + [49] * 4
    audit.add([AuditRecord(50, str(i), "kept") for i in range(20)])
    assert len(audit.records) == 20


def test_it_is_read_while_it_is_written():
    audit, stop, lengths = Audit(), threading.Event(), []
    begun = threading.Event()

    def read():
        while not stop.is_set():
            lengths.append(len(audit.records))
            begun.set()

    reader = threading.Thread(target=read)
    reader.start()
    assert begun.wait(30)
    for server_round in range(300):
        audit.add([AuditRecord(server_round, str(i), "kept") for i in range(3)])
    stop.set()
    reader.join()
    assert lengths == sorted(lengths)
    assert all(length % 3 == 0 for length in lengths)


def test_a_file_that_cannot_be_written_is_said_at_once(tmp_path):
    with pytest.raises(ValueError, match=r"`audit_log` should be .* Create its folder"):
        Audit(tmp_path / "missing" / "audit.jsonl")


RECORDS = [
    *[AuditRecord(r, "evil", "dropped" if r < 3 else "trimmed", reason="shape (1,)") for r in range(4)],
    *[AuditRecord(r, "good", "kept") for r in range(4)],
    *[AuditRecord(r, "odd", "not selected" if r == 0 else "kept") for r in range(4)],
    AuditRecord(4, "good", "skipped", reason="too few"),
]  # fmt: skip


def test_precision_and_recall():
    assert precision_recall(RECORDS, {"evil"}) == PrecisionRecall(4 / 5, 1.0)
    assert precision_recall(RECORDS, {"evil", "odd"}) == PrecisionRecall(1.0, 5 / 8)
    assert precision_recall(RECORDS, set()) == PrecisionRecall(0.0, None)
    assert precision_recall(RECORDS[4:8], {"evil"}) == PrecisionRecall(None, None)


def test_the_table_names_the_most_rejected_first():
    lines = list(table(RECORDS))
    assert [line.split()[0] for line in lines] == ["client", "evil", "odd", "good"]
    assert lines[1].split()[1:4] == ["4", "4", "100.0%"]
    assert lines[1].endswith("shape (1,)")
    assert lines[2].split()[1:4] == ["4", "1", "25.0%"]
    assert lines[3].split()[1:4] == ["5", "0", "0.0%"]


def test_the_command(tmp_path, capsys):
    path = tmp_path / "audit.jsonl"
    Audit(path).add(RECORDS)
    assert main(["audit", str(path)]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines() == list(table(RECORDS))
    assert "no evidence" in said.err
    path.write_text("noise\n")
    assert main(["audit", str(path)]) == 2
    assert "no audit records" in capsys.readouterr().err
    assert main(["audit", str(tmp_path / "missing")]) == 2
    assert "Cannot read" in capsys.readouterr().err


@every_api
@pytest.mark.parametrize("wrap", [False, True])
def test_too_few_updates_raise_where_that_is_asked_for(api, wrap):
    options = {"on_too_few": "raise"}
    strategy = (
        api.ours.ByzantineRobust(api.theirs.FedAvg(), rules.Krum(2), **options)
        if wrap
        else api.ours.Krum(**{api.f_name: 2}, **options)
    )
    api.hand_out(strategy, [np.zeros(D)])
    with pytest.raises(TooFewUpdatesError, match=r"Round 1 .* 5 usable .* needs 7\. Sample more"):
        api.aggregate(strategy, replies_of(api, gaussian(5, D)))
    assert {record.verdict for record in strategy.audit} == {"skipped"}
    with pytest.raises(TooFewUpdatesError, match="0 usable replies"):
        api.aggregate(strategy, [api.error(1)], 2)
    tensors, _ = api.aggregate(strategy, replies_of(api, gaussian(7, D)), 3)
    assert tensors is not None


@every_api
def test_what_too_few_updates_do_is_checked(api):
    with pytest.raises(ValueError, match="`on_too_few` should be one of"):
        api.ours.Median(on_too_few="ignore")
