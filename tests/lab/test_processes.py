"""Runs in processes of their own: what they report, and what happens if one of them dies."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import pytest

from flwr_byzantine.lab.processes import MOST, News, deal, run_here, run_in_processes
from flwr_byzantine.lab.progress import Steps


def work(runs, tell):
    """What the processes below do with their tasks, which are numbers or words."""
    for place, run in enumerate(runs):
        if run == "no data":
            raise FileNotFoundError("nothing\n in [/data/x]")
        if run == "dies":
            os._exit(9)
        tell.round(place)
        if run == "fails":
            tell.failed(place, ValueError("of two\nlines"))
        else:
            tell.finished(place, (run, os.environ.get("OMP_NUM_THREADS"), os.getpid()))


def told_by(batches, at_once=2):
    news = []
    run_in_processes(batches, work, at_once, news.append)
    return news


def kinds(news):
    return sorted((str(n.run), n.kind) for n in news)


def test_every_round_and_every_end_is_told(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    news = told_by([[1, "fails"], [2]])
    assert kinds(news) == [
        ("1", "finished"), ("1", "round"), ("2", "finished"), ("2", "round"),
        ("fails", "failed"), ("fails", "round"),
    ]  # fmt: skip
    assert {n.what for n in news if n.kind == "failed"} == {"ValueError: of two lines"}
    ended = [n.what for n in news if n.kind == "finished"]
    assert [threads for _, threads, _ in ended] == ["1", "1"]
    assert len({process for *_, process in ended}) == 2
    assert "OMP_NUM_THREADS" not in os.environ


def test_threads_that_the_user_set_are_left(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert [n.what[1] for n in told_by([[1]]) if n.kind == "finished"] == ["3"]


def test_only_the_run_at_which_a_process_dies_has_failed():
    news = told_by([[1, "dies", 2, 3], [4]])
    failed = [n for n in news if n.kind == "failed"]
    assert [n.run for n in failed] == ["dies"]
    assert failed[0].what == ("its process ended with status 9: out of memory, or the app ended it")
    assert sorted(n.run for n in news if n.kind == "finished") == [1, 2, 3, 4]


def test_what_stops_a_whole_batch_fails_each_of_its_runs():
    news = told_by([["no data", 1], [2]])
    assert [(n.run, n.what) for n in news if n.kind == "failed"] == [
        ("no data", "FileNotFoundError: nothing in [/data/x]"),
        (1, "FileNotFoundError: nothing in [/data/x]"),
    ]
    assert [n.run for n in news if n.kind == "finished"] == [2]


def test_the_same_is_told_in_this_process():
    news = []
    run_here([1, "fails"], work, news.append)
    assert kinds(news) == kinds(told_by([[1, "fails"]]))
    assert news[1] == News("finished", 1, (1, os.environ.get("OMP_NUM_THREADS"), os.getpid()))


@pytest.mark.parametrize(("runs", "at_once"), [(0, 2), (1, 4), (7, 3), (200, 2)])
def test_all_runs_are_dealt_out_in_batches_of_one_size(runs, at_once):
    dealt = deal(list(range(runs)), at_once)
    assert sorted(run for batch in dealt for run in batch) == list(range(runs))
    assert {len(batch) for batch in dealt} <= {runs // max(1, len(dealt)) + i for i in (0, 1)}
    assert len(dealt) >= min(at_once, runs)
    assert all(len(batch) <= MOST for batch in dealt)


def lasting(folder, runs, tell):
    """Work that does not end by itself."""
    for place, run in enumerate(runs):
        (Path(folder) / str(run)).write_text(str(os.getpid()))
        time.sleep(60)
        tell.finished(place, None)


def sweep_of(folder):
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores SIGINT
    run_in_processes([[1], [2]], partial(lasting, folder), 2, print)


def alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{process}/stat")
    return not (state.exists() and ") Z" in state.read_text())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_the_one_that_started_it(number, tmp_path):
    code = f"import test_processes; test_processes.sweep_of({str(tmp_path)!r})"
    paths = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[2])])
    environment = os.environ | {"PYTHONPATH": paths}
    started = subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stderr=subprocess.DEVNULL
    )
    try:
        end = time.monotonic() + 30
        while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(0.2)
        processes = [int(path.read_text()) for path in tmp_path.iterdir()]
        started.send_signal(number)
        started.wait(20)
        end = time.monotonic() + 20
        while any(map(alive, processes)) and time.monotonic() < end:
            time.sleep(0.05)
        assert len(processes) == 2
        assert not any(map(alive, processes))
    finally:
        started.kill()
        started.wait()


SLOW = """
import os, time
from flwr_byzantine.lab.processes import run_in_processes
if os.environ["STARTER"] != str(os.getpid()):
    begun = os.environ["BEGUN"]
    with open(begun + ".part", "w") as file:
        file.write(str(os.getpid()))
    os.rename(begun + ".part", begun)
    time.sleep(3)

def work(runs, tell):
    time.sleep(60)
"""


@pytest.mark.parametrize("engine_interrupts", [False, True])
def test_ctrl_c_while_processes_start_prints_no_tracebacks(tmp_path, engine_interrupts):
    """A terminal sends Ctrl-C to all processes, also to one that is still importing the app."""
    (tmp_path / "slow_work.py").write_text(SLOW)
    begun = tmp_path / "begun"
    code = (
        "import os, signal, sys\n"
        "os.environ['STARTER'] = str(os.getpid())\n"
        "import slow_work as s\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"try: s.run_in_processes([[1]], s.work, 1, print, engine_interrupts={engine_interrupts})\n"
        "except KeyboardInterrupt: sys.exit('stopped')\n"
    )
    paths = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])
    started = subprocess.Popen(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": paths, "BEGUN": str(begun)},
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    try:
        end = time.monotonic() + 30
        while not begun.exists() and time.monotonic() < end:
            time.sleep(0.02)
        assert begun.exists()
        os.kill(int(begun.read_text()), signal.SIGINT)
        time.sleep(0.5)  # time to print a traceback, before the caller ends it
        started.send_signal(signal.SIGINT)
        assert started.communicate(timeout=20)[1] == "stopped\n"
    finally:
        os.killpg(started.pid, signal.SIGKILL) if started.poll() is None else None


def test_steps_are_counted_by_run():
    steps = Steps(2, 3)
    assert [steps.round("a"), steps.round("b"), steps.round("a"), steps.round("a")] == [1, 2, 3, 3]
    assert [steps.end("a"), steps.end("b")] == [4, 6]
    assert steps.total == 6


def leave_files(runs, tell):
    """Work that makes a temporary file and does not end."""
    handle, path = tempfile.mkstemp()
    os.close(handle)
    tell.finished(0, path)
    time.sleep(60)


def test_temporary_files_of_processes_that_are_ended_are_removed():
    paths = []

    def interrupted(news):
        paths.append(Path(news.what))
        assert paths[0].exists()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_in_processes([[1]], leave_files, 1, interrupted)
    assert not paths[0].exists()
    assert not paths[0].parent.exists()
