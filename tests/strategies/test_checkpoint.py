"""Checkpoints: written ones can be read, damaged ones are refused, and a resumed run equals a whole run."""

import inspect
import io
import json
import logging
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from checkpoint_run import OPTIMISERS, initial, make, run, same_bits
from flower import APIS, every_api
from flwr.common import ndarrays_to_parameters

from flwr_byzantine.aggregation.npy import encode
from flwr_byzantine.resume.checkpoint import Checkpoint, CheckpointError, Checkpoints
from flwr_byzantine.resume.snapshot import Snapshot
from flwr_byzantine.rules import Clipping, NearestNeighborMixing

STATE = {
    "numbers": [0, -1, 10**20, 0.1, 5e-324, float("inf"), None, True],
    "arrays": {
        "x": np.arange(3, dtype=">i2"),
        "0-d": np.array(2.5),
        "f": np.ones((2, 3), order="F"),
    },
    "scalar": np.float32(0.1),
    "text": "ü\ud800 {}",
    "empty": {},
}
KINDS = [*OPTIMISERS, "Phocas", "MultiKrum", "ByGARS", "ByGARSPlusPlus", "FLTrust"]


def checkpoint(server_round=3, state=STATE):
    return Checkpoint(
        server_round, {"w": encode(np.arange(4.0)), "../b": encode(np.ones(2))}, state
    )


def written(*args):
    buffer = io.BytesIO()
    checkpoint(*args).write(buffer)
    return buffer.getvalue()


class Killed(BaseException):
    """Stands for SIGKILL in tests within one process."""


def test_what_is_written_is_read():
    found = Checkpoint.read(io.BytesIO(written()))
    assert (found.server_round, found.tensors) == (3, checkpoint().tensors)
    assert list(found.tensors) == ["w", "../b"]
    for key in ("numbers", "text", "empty"):
        assert found.state[key] == STATE[key]
    assert type(found.state["scalar"]) is np.float32
    assert found.state["scalar"] == STATE["scalar"]
    for name, array in STATE["arrays"].items():
        assert isinstance(found.state["arrays"][name], np.ndarray)
        assert found.state["arrays"][name].dtype == array.dtype
        np.testing.assert_array_equal(found.state["arrays"][name], array)


def test_numpy_opens_it_without_pickle():
    with np.load(io.BytesIO(written()), allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["model/0"], np.arange(4.0))


@pytest.mark.parametrize("state", [{"x": object()}, {1: 2}, {"x": np.array([None])}])
def test_a_state_that_needs_pickle_is_refused(state):
    with pytest.raises((TypeError, ValueError)):
        written(1, state)


def test_every_torn_or_damaged_file_is_refused():
    data = written()
    for length in [0, 1, *range(2, len(data), 37), len(data) - 1]:
        with pytest.raises(CheckpointError):
            Checkpoint.read(io.BytesIO(data[:length]))
    rng, harmless = np.random.default_rng(0), 0
    for position in rng.integers(0, len(data), 300):
        flipped = bytearray(data)
        flipped[position] ^= 1 << rng.integers(8)
        try:
            found = Checkpoint.read(io.BytesIO(flipped))
        except CheckpointError:
            continue
        harmless += 1  # the bit is in a date or an attribute of the zip file's directory
        assert found.tensors == checkpoint().tensors
    assert harmless < 150


def foreign_zip(header):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("header.json", header)
    return buffer.getvalue()


def npz():
    buffer = io.BytesIO()
    np.savez(buffer, w=np.ones(3))
    return buffer.getvalue()


FOREIGN = {
    "empty": b"",
    "text": b"hello",
    "pickle": b"\x80\x04N.",
    "npz": npz(),
    "other zip": foreign_zip("{}"),
    "list": foreign_zip("[]"),
    "newer": foreign_zip(
        json.dumps({"format": "flwr-byzantine checkpoint", "version": 2, "sha256": ""})
    ),
    "deep": foreign_zip("[" * 100_000),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_foreign_files_are_refused_and_left_alone(tmp_path, kind):
    path = tmp_path / "run"
    path.write_bytes(FOREIGN[kind])
    for action in (Checkpoints(path).load, lambda: Checkpoints(path).save(checkpoint())):
        with pytest.raises(CheckpointError, match=r"Parameter `checkpoint` should .* Found .*run"):
            action()
    assert path.read_bytes() == FOREIGN[kind]


@pytest.mark.parametrize("kind", FOREIGN)
def test_the_previous_one_is_used_and_kept_until_the_next(tmp_path, kind, caplog):
    kept = Checkpoints(tmp_path / "run")
    for server_round in (1, 2):
        kept.save(checkpoint(server_round))
    (tmp_path / "run").write_bytes(FOREIGN[kind])
    again = Checkpoints(tmp_path / "run")
    assert again.load().server_round == 1
    assert any(r.levelno == logging.WARNING and "Refused" in r.getMessage() for r in caplog.records)
    again.save(checkpoint(5))
    (tmp_path / "run").unlink()  # as if the process ended between two renames
    assert Checkpoints(tmp_path / "run").load().server_round == 1


def test_newest_first_and_nothing_at_first(tmp_path):
    assert Checkpoints(tmp_path / "run").load() is None
    for server_round in (1, 2, 3):
        Checkpoints(tmp_path / "run").save(checkpoint(server_round))
    assert Checkpoints(tmp_path / "run").load().server_round == 3
    (tmp_path / "run").unlink()
    assert Checkpoints(tmp_path / "run").load().server_round == 2
    assert sorted(file.name for file in tmp_path.iterdir()) == ["run.previous"]


def test_a_checkpoint_is_on_disk_before_it_replaces_the_last(tmp_path, monkeypatch):
    calls = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, n=name, r=real: (calls.append(n), r(*a))[1])
    kept = Checkpoints(tmp_path / "run")
    kept.save(checkpoint(1))
    kept.save(checkpoint(2))
    assert calls == ["fsync", "replace", "fsync", "fsync", "replace", "replace", "fsync"]


def test_the_folder_must_be_there(tmp_path):
    with pytest.raises(ValueError, match=r"`checkpoint` should .* Create the folder"):
        Checkpoints(tmp_path / "missing" / "run")


@every_api
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stops", [[(1, 1)], [(2, 3), (4, 8), (4, 1), (7, 5)]], ids=str)
def test_a_resumed_run_is_the_same_bit_for_bit(api, kind, stops, tmp_path):
    expected = run(api, make(api, kind, 40), 7)
    asked = []
    for stop in [*stops, None]:
        calls = [0]

        def on_train(server_round, stop=stop, calls=calls):
            asked.append(server_round)
            calls[0] = calls[0] + 1 if server_round == (stop or (0,))[0] else 0
            if stop is not None and calls[0] == stop[1]:
                raise Killed

        strategy = make(api, kind, 40, checkpoint=tmp_path / "run")
        try:
            model = run(api, strategy, 7, on_train=on_train)
        except Killed:
            continue
    assert same_bits(model, expected)
    assert asked == sorted(asked)  # no finished round is asked for again
    assert {array.dtype for array in model} == {array.dtype for array in initial(40)}


@every_api
def test_a_finished_run_gives_its_model_again(api, tmp_path):
    first = run(api, make(api, "Phocas", 40, checkpoint=tmp_path / "run"), 3)

    def nobody(server_round):
        raise AssertionError("no client is asked")

    for rounds in (3, 2):
        again = make(api, "Phocas", 40, checkpoint=tmp_path / "run")
        assert same_bits(run(api, again, rounds, on_train=nobody), first)
    longer = run(api, make(api, "Phocas", 40, checkpoint=tmp_path / "run"), 5)
    assert same_bits(longer, run(api, make(api, "Phocas", 40), 5))


@every_api
def test_another_model_is_refused(api, tmp_path):
    run(api, make(api, "Phocas", 40, checkpoint=tmp_path / "run"), 1)
    with pytest.raises(CheckpointError, match="should belong to the model of this run"):
        run(api, make(api, "Phocas", 41, checkpoint=tmp_path / "run"), 1, size=41)


@every_api
def test_a_skipped_round_is_a_round(api, tmp_path):
    """A round has too few replies for the rule. The model stays, the round is saved, and the run goes on."""
    strategy = make(api, "Phocas", 40, checkpoint=tmp_path / "run")
    usual, strategy.aggregator.rule = strategy.aggregator.rule, type(strategy.aggregator.rule)(7)
    start = run(api, strategy, 2)
    if api.name == "fit":
        assert same_bits(start, initial(40))
    found = Checkpoints(tmp_path / "run").load()
    assert found.server_round == 2
    strategy.aggregator.rule = usual
    assert not same_bits(run(api, strategy, 3), initial(40))


def test_the_server_evaluates_each_round_once_and_the_last_one_again(tmp_path):
    api = APIS[1]
    seen = []

    def evaluate(server_round, arrays):
        seen.append(server_round)

    run(api, make(api, "Phocas", 40, checkpoint=tmp_path / "run"), 2, evaluate=evaluate)
    run(api, make(api, "Phocas", 40, checkpoint=tmp_path / "run"), 4, evaluate=evaluate)
    assert seen == [0, 1, 2, 2, 3, 4]


def test_the_loop_takes_what_flowers_takes():
    theirs = inspect.signature(APIS[1].theirs.FedAvg.start).parameters
    ours = inspect.signature(APIS[1].ours.Median.start).parameters
    assert [(p.name, p.kind, p.default) for p in ours.values()] == [
        (p.name, p.kind, p.default) for p in theirs.values()
    ]


def test_momentum_survives_a_first_round_that_was_skipped():
    """Flower's FedAvgM raises in round 2 if round 1 made no momentum."""
    api = APIS[0]
    strategy = make(api, "FedAvgM", 40)

    def too_few_at_first(server_round):
        if server_round == 1:
            raise ConnectionError

    strategy.strategy.momentum_vector = None
    model = run(api, strategy, 3, on_train=too_few_at_first)
    assert not same_bits(model, initial(40))


class Wrapped:
    """A strategy with many kinds of attributes."""

    def __init__(self):
        self.rate, self.norm, self.moments, self.start = 0.1, 1.0, None, None
        self.start = ndarrays_to_parameters([np.ones(2)])
        self.function, self.names = print, ["a"]


def test_snapshots_hold_arrays_and_changed_numbers_and_leave_settings():
    old, new = Wrapped(), Wrapped()
    snapshot = Snapshot(old)
    old.norm, old.moments = 2.0, {"w": [np.zeros(2), np.array(3)]}
    state = snapshot.state()
    assert set(state) == {"norm", "moments", "start"}
    new.rate = 0.5
    Snapshot(new).restore(Checkpoint.read(io.BytesIO(written(1, {"s": state}))).state["s"])
    assert (new.rate, new.norm, new.names) == (0.5, 2.0, ["a"])
    np.testing.assert_array_equal(new.moments["w"][1], 3)
    assert new.start == old.start
    old.start = None
    assert Snapshot(Wrapped()).state()["start"] is not None
    assert snapshot.state()["start"] is None


def test_a_strategy_may_say_what_its_state_is():
    class Own:
        def state_dict(self):
            return {"a": 1}

        def load_state_dict(self, state):
            self.loaded = state

    own = Own()
    snapshot = Snapshot(own)
    snapshot.restore(snapshot.state())
    assert own.loaded == {"a": 1}


@every_api
def test_killed_at_random_moments_and_resumed(api, tmp_path):
    """After SIGKILL, only the round under way is lost, and every checkpoint can be read."""
    kind = {"fit": "FedAdam", "train": "ByGARSPlusPlus"}[api.name]
    program = Path(__file__).parents[1] / "helpers" / "checkpoint_run.py"
    done = subprocess.run(
        [sys.executable, program, api.name, kind, tmp_path, "40", "100", "1"],
        env=os.environ | {"FLWR_BYZANTINE_NUM_THREADS": "1"},
        cwd=program.parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["lost"] == []
    assert report["same"]
    assert report["kills"] >= 5
    lines = (tmp_path / "audit").read_text().splitlines()
    assert {json.loads(line)["round"] for line in lines if line.endswith("}")} >= set(range(1, 41))


@every_api
def test_another_pre_aggregation_is_said(api, tmp_path):
    first = make(api, "Phocas", 40, checkpoint=tmp_path / "run", pre_aggregation=Clipping(1.0))
    run(api, first, 1)
    other = NearestNeighborMixing(1)
    with pytest.raises(CheckpointError, match="Clipping >> Phocas"):
        run(api, make(api, "Phocas", 40, checkpoint=tmp_path / "run", pre_aggregation=other), 2)
