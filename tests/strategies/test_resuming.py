"""Resuming with unusual checkpoints, with loops that are not Flower's, and with state that cannot be kept."""

import gc
import json
import logging
import os
import pickle
import subprocess
import sys
from collections import Counter, defaultdict, deque
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from checkpoint_run import Client, Grid, initial, make, run, same_bits
from flower import APIS, every_api, running_task
from flwr.app import Array, ArrayRecord, ConfigRecord
from flwr.common import ndarrays_to_parameters, parameters_to_ndarrays
from flwr.server import Server, SimpleClientManager
from flwr.serverapp.strategy import FedAvg, Result

from flwr_byzantine import rules
from flwr_byzantine.aggregation.npy import encode
from flwr_byzantine.audit import read_audit
from flwr_byzantine.resume.checkpoint import Checkpoint, CheckpointError, Checkpoints
from flwr_byzantine.resume.snapshot import Snapshot

FIT, TRAIN = APIS
SIZE = 40


class Killed(BaseException):
    """Stands for SIGKILL in tests within one process."""


def first_arrays():
    return ArrayRecord({str(i): Array(a) for i, a in enumerate(initial(SIZE))})


def train_messages(strategy, rounds, on_train=lambda server_round: None, **options):
    """Call a strategy's own ``start``, and return its result."""
    with running_task():
        return strategy.start(Grid(on_train), first_arrays(), rounds, **options)


def errors(caplog):
    return [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]


# Loops of the user's own


def own_loop(strategy, grid, arrays, rounds, heed=True):
    """A loop like those of public apps. Without ``heed``, it ignores rounds that it has no messages for."""
    best = arrays
    for server_round in rounds if isinstance(rounds, list) else range(1, rounds + 1):
        sent = list(strategy.configure_train(server_round, arrays, ConfigRecord(), grid))
        if sent or heed:
            new, _ = strategy.aggregate_train(server_round, grid.send_and_receive(sent))
            if new is not None:
                arrays = best = new
        sent = strategy.configure_evaluate(server_round, arrays, ConfigRecord(), grid)
        strategy.aggregate_evaluate(server_round, grid.send_and_receive(list(sent)))
    return Result(arrays=best)


def with_own_start(base, heed=True):
    class Own(base):
        def start(self, grid, initial_arrays, num_rounds=3, save_path=None):
            self.save_path = save_path
            return own_loop(self, grid, initial_arrays, num_rounds, heed)

    return Own


def own_strategy(kind, heed=True, **options):
    arguments = {"fraction_evaluate": 0.0, "min_available_nodes": 8}
    if kind == "subclass":
        kind = with_own_start(TRAIN.ours.Phocas, heed)
        return kind(num_malicious_nodes=2, **arguments, **options)
    wrapped = with_own_start(FedAvg, heed)(**arguments)
    return TRAIN.ours.ByzantineRobust(wrapped, rules.Phocas(2), **options)


@pytest.mark.parametrize("heed", [True, False], ids=["heeds", "ignores"])
@pytest.mark.parametrize("kind", ["subclass", "wrapped"])
@pytest.mark.parametrize("stop", [1, 3])
def test_a_strategy_with_its_own_start_resumes_and_never_overwrites(kind, heed, stop, tmp_path):
    expected = train_messages(own_strategy(kind, heed), 5).arrays.to_numpy_ndarrays()
    asked, path = [], tmp_path / "run"

    def until_killed(server_round):
        asked.append(server_round)
        if server_round == stop + 1:
            raise Killed

    with pytest.raises(Killed):
        train_messages(own_strategy(kind, heed, checkpoint=path), 5, until_killed)
    assert Checkpoints(path).load().server_round == stop
    again = own_strategy(kind, heed, checkpoint=path)
    result = train_messages(again, 5, asked.append)
    assert same_bits(result.arrays.to_numpy_ndarrays(), expected)
    assert asked == sorted(asked)
    assert Checkpoints(path).load().server_round == 5
    if heed:  # repeat a finished run: no node is asked, and no file is overwritten
        before = path.read_bytes(), len(asked)
        for one in (again, own_strategy(kind, checkpoint=path)):
            result = train_messages(one, 2, asked.append)
            assert same_bits(result.arrays.to_numpy_ndarrays(), expected)
        assert (path.read_bytes(), len(asked)) == before


@pytest.mark.parametrize("kind", ["subclass", "wrapped"])
def test_a_loop_that_counts_from_zero_trains_its_first_round(kind, tmp_path):
    asked, path = [], tmp_path / "run"
    train_messages(own_strategy(kind), [0, 1], asked.append)
    assert set(asked) == {0, 1}
    asked.clear()
    train_messages(own_strategy(kind, checkpoint=path), [0], asked.append)
    assert Checkpoints(path).load().server_round == 0
    found = train_messages(own_strategy(kind, checkpoint=path), [0, 1], asked.append)
    assert asked == [0] * 8 + [1] * 8
    expected = train_messages(own_strategy(kind), [0, 1]).arrays.to_numpy_ndarrays()
    assert same_bits(found.arrays.to_numpy_ndarrays(), expected)


def test_the_wrapped_strategys_own_start_is_called_with_its_own_words(tmp_path):
    strategy = own_strategy("wrapped", checkpoint=tmp_path / "run")
    strategy.best = None  # the wrapped strategy has no such attribute, so the wrapper keeps it
    train_messages(strategy, 1, save_path="models")
    assert strategy.strategy.save_path == strategy.save_path == "models"
    strategy.save_path = "elsewhere"
    assert strategy.strategy.save_path == "elsewhere"
    assert not hasattr(strategy.strategy, "best")
    with pytest.raises(AttributeError, match="nothing"):
        strategy.nothing()


def test_an_own_start_that_calls_flowers_resumes(tmp_path):
    class Own(TRAIN.ours.Phocas):
        def start(self, *args, **kwargs):
            self.started = True
            return super().start(*args, **kwargs)

    def build(**options):
        return Own(num_malicious_nodes=2, fraction_evaluate=0.0, min_available_nodes=8, **options)

    expected = train_messages(build(), 4).arrays.to_numpy_ndarrays()
    train_messages(build(checkpoint=tmp_path / "run"), 2)
    asked = []
    found = train_messages(build(checkpoint=tmp_path / "run"), 4, asked.append)
    assert same_bits(found.arrays.to_numpy_ndarrays(), expected)
    assert set(asked) == {3, 4}


class OwnServer(Server):
    """A server whose loop does not ask the strategy for the first model."""

    def fit(self, num_rounds, timeout):
        self.parameters = ndarrays_to_parameters(initial(SIZE))
        for server_round in range(1, num_rounds + 1):
            found = self.fit_round(server_round, timeout)
            if found and found[0] is not None:
                self.parameters = found[0]


def serve(rounds, asked, **options):
    manager = SimpleClientManager()
    for node in range(8):
        manager.register(Client(node, asked.append))
    server = OwnServer(client_manager=manager, strategy=make(FIT, "FedAdam", SIZE, **options))
    server.set_max_workers(1)
    server.fit(rounds, None)
    return parameters_to_ndarrays(server.parameters)


def test_a_server_with_its_own_loop_resumes_and_never_overwrites(tmp_path, caplog):
    expected, asked = serve(5, []), []
    serve(2, asked, checkpoint=tmp_path / "run")
    assert same_bits(serve(5, asked, checkpoint=tmp_path / "run"), expected)
    assert asked == sorted(asked)
    assert any("starts from the checkpoint's model" in r.getMessage() for r in caplog.records)
    with pytest.raises(CheckpointError, match="should belong to the model of this run"):
        make(FIT, "FedAdam", 41, checkpoint=tmp_path / "run").configure_fit(
            1, ndarrays_to_parameters(initial(41)), SimpleClientManager()
        )


@every_api
def test_evaluations_of_rounds_that_were_done_can_be_unpacked(api, tmp_path):
    """Public apps do not expect None if they passed a function that evaluates."""
    asked, seen = [], []

    def evaluate_fn(server_round, model, config=None):
        asked.append(server_round)
        return (0.5, {"x": 1.0}) if api.name == "fit" else {"x": 1.0}

    if api.name == "fit":

        class Own(FIT.ours.Phocas):
            def evaluate(self, server_round, parameters):
                loss, metrics = super().evaluate(server_round, parameters)
                seen.append((server_round, loss))
                return loss, metrics

        first = ndarrays_to_parameters(initial(SIZE))
        options = {
            "num_malicious_clients": 2, "min_available_clients": 8, "initial_parameters": first,
            "on_fit_config_fn": lambda server_round: {"round": server_round},
            "fraction_evaluate": 0.0, "evaluate_fn": evaluate_fn,
        }  # fmt: skip
        for rounds in (3, 4):
            run(api, Own(**options, checkpoint=tmp_path / "run"), rounds)
    else:

        class Own(FedAvg):
            def start(self, grid, initial_arrays, num_rounds, evaluate_fn):
                arrays = initial_arrays
                for server_round in range(num_rounds + 1):
                    if server_round:
                        arrays = own_loop(self, grid, arrays, [server_round]).arrays
                    seen.append((server_round, evaluate_fn(server_round, arrays)["x"]))
                return Result(arrays=arrays)

        options = {"min_available_nodes": 8, "fraction_evaluate": 0.0}
        for rounds in (3, 4):
            own = Own(**options)
            robust = api.ours.ByzantineRobust(own, rules.Phocas(2), checkpoint=tmp_path / "run")
            train_messages(robust, rounds, evaluate_fn=evaluate_fn)
    assert [server_round for server_round, _ in seen] == [0, 1, 2, 3, 0, 1, 2, 3, 4]
    assert asked == [0, 1, 2, 3, 3, 4]


# Files


HOLD = """
import sys, time
from checkpoint_run import make, run
from flower import APIS
api = next(api for api in APIS if api.name == sys.argv[1])
strategy = make(api, "Phocas", 40, checkpoint=sys.argv[2])
def on_train(server_round):
    if server_round == 2:
        print("held", flush=True)
        time.sleep(60)
run(api, strategy, 3, on_train=on_train)
"""


@every_api
def test_two_processes_on_one_checkpoint_are_told(api, tmp_path):
    helpers = Path(__file__).parents[1] / "helpers"
    path = tmp_path / "run"
    early = make(api, "Phocas", SIZE)
    early.checkpoints = pickle.loads(pickle.dumps(Checkpoints(path)))  # a copy holds no lock
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, api.name, path],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(helpers), *sys.path])},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert other.stdout.readline() == "held\n"
        message = rf"`checkpoint` should be a file that no other process uses.*process {other.pid} "
        with pytest.raises(CheckpointError, match=message):
            make(api, "Phocas", SIZE, checkpoint=path)
        with pytest.raises(CheckpointError, match=message):
            run(api, early, 3)
        assert Checkpoint.read(path.open("rb")).server_round == 1
    finally:
        other.kill()
        other.wait()
    run(api, make(api, "Phocas", SIZE, checkpoint=path), 3)
    assert Checkpoints(path).load().server_round == 3
    gc.collect()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["run", "run.previous"]


@every_api
def test_a_strategy_has_its_checkpoint_from_the_start(api, tmp_path):
    path = tmp_path / "run"
    strategy = make(api, "Phocas", SIZE, checkpoint=path)
    program = (
        f"from flwr_byzantine.resume.checkpoint import Checkpoints\nCheckpoints({str(path)!r})"
    )
    command = [sys.executable, "-c", program]
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 1
    assert f"used by process {os.getpid()} on" in again.stderr
    strategy.checkpoints.release()
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    child = os.fork()  # a child process does not hold its parent's lock
    if child == 0:
        try:
            strategy.checkpoints.load()
            Checkpoints(path)
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    run(api, strategy, 1)


@every_api
@pytest.mark.parametrize("what", ["deleted", "moved", "all deleted", "folder"])
def test_what_was_deleted_or_moved_is_written_anew(api, what, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    path = folder / "run"
    expected = run(api, make(api, "FedAdam", SIZE), 4)

    def meddle(server_round):
        if server_round != 3 or (folder / "meddled").exists():
            return
        if what == "folder":
            folder.rename(tmp_path / "archive")
            folder.mkdir()
        elif what == "moved":
            path.rename(folder / "kept")
        else:
            for file in folder.iterdir():
                if file.name == "run" or what == "all deleted":
                    file.unlink()
        (folder / "meddled").touch()

    strategy = make(api, "FedAdam", SIZE, checkpoint=path)
    assert same_bits(run(api, strategy, 4, on_train=meddle), expected)
    assert Checkpoints(path).load().server_round == 4


@every_api
def test_a_full_disk_costs_the_checkpoint_and_not_the_round(api, tmp_path, monkeypatch, caplog):
    path, real = tmp_path / "run", os.fsync
    expected = run(api, make(api, "FedAdam", SIZE), 4)
    full = [False]

    def fsync(descriptor):
        if full[0]:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    strategy = make(api, "FedAdam", SIZE, checkpoint=path)

    def fill(server_round):
        full[0] = server_round in (2, 3)

    found = run(api, strategy, 4, on_train=fill)
    assert same_bits(found, expected)
    said = errors(caplog)
    assert len(said) == 2
    assert all(str(path) in text and "No space left" in text for text in said)
    assert "the file has round 1" in said[1]
    assert Checkpoints(path).load().server_round == 4
    assert not (tmp_path / "run.partial").exists()


@every_api
@pytest.mark.parametrize(
    "where", ["missing", "file", "folder", "proc", "device", "long", "nul", "nothing", "number"]
)
def test_a_checkpoint_that_cannot_be_written_fails_at_construction(api, where, tmp_path):
    (tmp_path / "file").touch()
    path = {
        "missing": tmp_path / "missing" / "run",
        "file": tmp_path / "file" / "run",
        "folder": tmp_path,
        "proc": Path("/proc/run"),
        "device": Path("/dev/null"),
        "long": tmp_path / ("x" * 300),
        "nul": "a\0b",
        "nothing": "",
        "number": 5,
    }[where]
    with pytest.raises(ValueError, match=r"Parameter `checkpoint` should be .* Found"):
        make(api, "Phocas", SIZE, checkpoint=path)
    if where not in ("folder", "nothing", "number"):
        with pytest.raises(ValueError, match=r"Parameter `audit_log` should be .* Found"):
            make(api, "Phocas", SIZE, audit_log=path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_fails_at_construction(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ValueError, match=r"`checkpoint` should be .* can be written"):
        Checkpoints(tmp_path / "run")


# Checkpoints of another program or another run


@every_api
def test_a_checkpoint_of_something_else_is_refused(api, tmp_path):
    path = tmp_path / "run"
    run(api, make(api, "FedAdam", SIZE, checkpoint=path), 2)
    before = path.read_bytes()
    other = next(a for a in APIS if a is not api)
    cases = [
        (api, make(api, "FedYogi", SIZE, checkpoint=path), r"ByzantineRobust\(FedAdam\)"),
        (api, make(api, "Phocas", SIZE, checkpoint=path), "strategy = 'Byz.*expected 'Phocas'"),
        (other, make(other, "FedAdam", SIZE, checkpoint=path), "API = "),
    ]
    krum = api.ours.ByzantineRobust(
        make(api, "FedAdam", SIZE).strategy, rules.Krum(2), checkpoint=path
    )
    cases.append((api, krum, "rule = 'Phocas', expected 'Krum'"))
    for of, strategy, message in cases:
        with pytest.raises(CheckpointError, match=message):
            run(of, strategy, 3)
    assert path.read_bytes() == before
    run(api, make(api, "FedAdam", SIZE, checkpoint=path), 3)


@every_api
def test_a_checkpoint_of_another_dtype_is_refused(api, tmp_path):
    path = tmp_path / "run"
    run(api, make(api, "Phocas", SIZE, checkpoint=path), 1)
    found = Checkpoints(path).load()
    names = list(found.tensors)
    wide = dict(found.tensors) | {names[0]: encode(initial(SIZE)[0].astype(np.float64))}
    Checkpoints(path).save(replace(found, tensors=wide))
    with pytest.raises(CheckpointError, match=r"float64.*position 0.*expected.*float32"):
        run(api, make(api, "Phocas", SIZE, checkpoint=path), 2)


@every_api
@pytest.mark.parametrize("odd", [2.5, -1, True, None, "2", float("nan"), "model"])
def test_a_checkpoint_with_nan_or_an_odd_round_is_refused(api, odd, tmp_path):
    path = tmp_path / "run"
    run(api, make(api, "Phocas", SIZE, checkpoint=path), 1)
    found = Checkpoints(path).load()
    if odd == "model":
        broken = initial(SIZE)[0]
        broken[3] = np.nan
        tensors = dict(found.tensors) | {next(iter(found.tensors)): encode(broken)}
        changed = replace(found, tensors=tensors)
    else:
        changed = replace(found, server_round=odd)
    Checkpoints(path).save(changed)
    said = "NaN" if odd == "model" else "round is not a whole number"
    with pytest.raises(CheckpointError, match=said):
        run(api, make(api, "Phocas", SIZE, checkpoint=path), 2)


@every_api
def test_a_model_with_nan_does_not_replace_a_good_checkpoint(api, tmp_path, caplog):
    path = tmp_path / "run"
    strategy = make(api, "Phocas", SIZE, checkpoint=path)
    run(api, strategy, 1)
    strategy._save(2, {"0": encode(np.array([1.0, np.nan]))})
    assert Checkpoints(path).load().server_round == 1
    assert any("NaN" in text and str(path) in text for text in errors(caplog))


# The audit of a round that is repeated


@every_api
@pytest.mark.parametrize("crashed", [1, 3])
def test_a_round_repeated_after_a_crash_is_not_mixed(api, crashed, tmp_path, monkeypatch):
    files = {"checkpoint": tmp_path / "run", "audit_log": tmp_path / "audit"}

    def crash(self, checkpoint, real=Checkpoints.save):
        if checkpoint.server_round == crashed:
            raise Killed
        real(self, checkpoint)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", crash)
        with pytest.raises(Killed):
            run(api, make(api, "Phocas", SIZE, **files), 4)
    run(api, make(api, "Phocas", SIZE, **files), 4)
    lines = [json.loads(line) for line in files["audit_log"].read_text().splitlines()]
    assert len({line["run_id"] for line in lines}) == 2
    assert len(lines) == 8 * 5
    records, _ = read_audit(files["audit_log"])
    assert Counter(record.round for record in records) == dict.fromkeys(range(1, 5), 8)
    newest = {record.round: record.run_id for record in records}
    assert len({(record.round, record.run_id) for record in records}) == 4
    assert newest[crashed] == lines[-1]["run_id"]


# Contents of snapshots


class Odd:
    """A strategy with unusual attributes."""


def cycle():
    ring = [np.ones(2)]
    ring.append(ring)
    return ring


AT_ONCE = {
    "keys": lambda: {0: np.ones(2)},
    "deep keys": lambda: {"a": [{(1, 2): np.ones(2)}]},
    "cycle": cycle,
    "deque": lambda: deque([np.ones(2)]),
    "defaultdict": lambda: defaultdict(list, {"a": np.ones(2)}),
    "objects": lambda: np.array([None]),
    "strategies": lambda: [FedAvg()],
}
CHANGED = {
    "set": ({1}, {1, 2}),
    "numbers": ([0.1], [0.1, 0.2]),
    "text": (["a"], ["a", "b"]),
    "table": ({"a": 1}, {"a": 2}),
    "other keys": ({1: 1}, {1: 2}),
    "emptied": ((1, 2), ()),
    "object": (None, print),
    "new": (None, {3}),
    "bytes": (b"a", b"b"),
}


@pytest.mark.parametrize("kind", AT_ONCE)
def test_snapshots_refuse_arrays_that_they_cannot_keep(kind):
    strategy = Odd()
    strategy.seen = AT_ONCE[kind]()
    with pytest.raises(
        ValueError, match=r"`checkpoint` should .* `Odd\.seen = .*`state_dict"
    ) as said:
        Snapshot(strategy)
    assert isinstance(said.value, TypeError)
    strategy.seen = None
    snapshot = Snapshot(strategy)
    strategy.seen = AT_ONCE[kind]()
    with pytest.raises(ValueError, match=r"`Odd\.seen = "):
        snapshot.state()


@pytest.mark.parametrize("kind", CHANGED)
def test_snapshots_refuse_other_state_once_it_has_changed(kind):
    strategy = Odd()
    strategy.seen, strategy.phase, strategy.momentum = CHANGED[kind][0], "warm", (np.ones(2),)
    snapshot = Snapshot(strategy)
    strategy.seen = CHANGED[kind][0]
    strategy.phase = "cold"
    assert snapshot.state().keys() == {"phase", "momentum"}
    other = Odd()
    Snapshot(other).restore(snapshot.state())
    assert (other.phase, type(other.momentum)) == ("cold", tuple)
    strategy.seen = CHANGED[kind][1]
    with pytest.raises(ValueError, match=r"`checkpoint` should .* `Odd\.seen = .*has changed"):
        snapshot.state()


def test_what_changes_in_place_has_changed():
    strategy = Odd()
    strategy.seen = {"a": [1]}
    snapshot = Snapshot(strategy)
    strategy.seen["a"].append(2)
    with pytest.raises(ValueError, match=r"`Odd\.seen"):
        snapshot.state()
    strategy.seen = bytearray(b"a")
    snapshot = Snapshot(strategy)
    strategy.seen.extend(b"b")
    with pytest.raises(ValueError, match=r"`Odd\.seen"):
        snapshot.state()


@every_api
def test_refusals_name_the_attribute_in_a_run_too(api, tmp_path):
    strategy = make(api, "FedAvg", SIZE, checkpoint=tmp_path / "run")
    strategy.strategy.losses = []  # set before the run, so it counts as a setting

    def on_train(server_round):
        if server_round == 2:
            strategy.strategy.losses.append(0.5)

    with pytest.raises(CheckpointError, match=r"`FedAvg\.losses = \[0\.5"):
        run(api, strategy, 3, on_train=on_train)
    assert Checkpoints(tmp_path / "run").load().server_round == 1
    ring = api.theirs.FedAvg()
    ring.me = ring
    api.ours.ByzantineRobust(ring, rules.Median())  # without a checkpoint, nothing is refused
    with pytest.raises(CheckpointError, match=r"`FedAvg\.me"):
        api.ours.ByzantineRobust(ring, rules.Median(), checkpoint=tmp_path / "other")


@pytest.mark.parametrize(
    "state", [{"a": {1: 2}}, {"a": [{3}]}, {"a": print}, {"a": np.array([None])}]
)
def test_a_state_of_the_users_own_is_refused_by_name(state, tmp_path):
    for one in (state, {"a": cycle()}):
        with pytest.raises(TypeError, match=r"at `state\['a'\]"):
            Checkpoints(tmp_path / "run").save(Checkpoint(1, {}, one))
    assert not any(tmp_path.iterdir())
