"""`stress` with apps that fail, and in folders that cannot be written to."""

import errno
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import sklearn  # noqa: F401 - the apps have their digits from it

from flwr_byzantine.lab import stress
from flwr_byzantine.lab.cell import Run
from flwr_byzantine.lab.flower_app import key_of_rounds, load_flower_app
from flwr_byzantine.lab.results import cells_of, recommend
from flwr_byzantine.lab.scores import Metric
from flwr_byzantine.lab.watching import Report, weighted_means

OWN_START = Path(__file__).resolve().parents[1] / "apps" / "own_start"
APP = """
import numpy as np
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg
client, server = ClientApp(), ServerApp()

@client.train()
def train(message, context):
    {train}
    metrics = MetricRecord({{"num-examples": 1}})
    return Message(RecordDict({{"a": ArrayRecord([np.ones(2)]), "m": metrics}}), reply_to=message)

@client.evaluate()
def evaluate(message, context):
    worth = float(message.content["arrays"].to_numpy_ndarrays()[0].mean())
    metrics = MetricRecord({{"accuracy": worth, "num-examples": 1}})
    return Message(RecordDict({{"m": metrics}}), reply_to=message)

@server.main()
def main(grid, context):
    found = FedAvg(fraction_evaluate={share}).start(grid, ArrayRecord([np.zeros(2)]), 4)
    {end}
"""


def app_of(folder, name, train="pass", end="pass", share=1.0):
    """The folder of a small app."""
    (folder / f"{name}.py").write_text(APP.format(train=train, end=end, share=share))
    (folder / "pyproject.toml").write_text(
        f"[tool.flwr.app.components]\nserverapp = '{name}:server'\nclientapp = '{name}:client'\n"
    )
    return folder


@pytest.mark.parametrize(("name", "train", "end", "words"), [
    ("leaves", "pass", "raise SystemExit(0)", "SystemExit: 0"),
    ("client_leaves", "raise SystemExit(3)", "pass", "no node trained: .*SystemExit: 3"),
    ("no_data", "raise KeyError('data')", "pass", "no node trained: .*KeyError: 'data'"),
])  # fmt: skip
def test_an_app_that_leaves_or_whose_nodes_all_fail(tmp_path, name, train, end, words):
    with pytest.raises(ValueError, match=words) as error:
        stress(app_of(tmp_path, name, train, end), rules=[], attacks=[], jobs=1)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("said", ["raise ImportError('a\\nb')", "raise SystemExit(1)"])
def test_an_import_that_fails_is_one_line(tmp_path, said):
    name = "leaves_at_once" if "Exit" in said else "two_lines"
    app_of(tmp_path, name)
    (tmp_path / f"{name}.py").write_text(said)
    with pytest.raises(ValueError, match="cannot be imported") as error:
        load_flower_app(tmp_path)
    assert "\n" not in str(error.value)


def test_a_process_that_dies_ends_no_other_run(tmp_path):
    end = "import os\n    if abs(found.arrays.to_numpy_ndarrays()[0] - 1).max() > 0.01: os._exit(3)"
    result = stress(
        app_of(tmp_path, "dies", end=end), rules=["median"], attacks=["gaussian"], jobs=2
    )
    assert "its process ended with status 3" in result.cell("app", "gaussian")["error"]
    assert result.cell("median", "gaussian")["error"] is None
    assert result.cell("median", "none")["final"] == pytest.approx(1)


def test_evaluations_of_a_sample_are_of_their_rounds(tmp_path):
    result = stress(
        app_of(tmp_path, "samples", share=0.3), rules=[], attacks=[], jobs=1, clients=10
    )
    assert [r for r, _ in result.cell("app", "none")["curve"]] == [1, 2, 3, 4]


def test_a_folder_that_cannot_be_written_to_is_said_before_anything_is_run(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="Parameter `out` should be a folder") as error:
        stress(OWN_START, out=tmp_path / "file", on_run=lambda *_: pytest.fail("it was run"))
    assert "\n" not in str(error.value)


def test_a_run_that_broke_off_has_no_result():
    curves = {"server": {1: {"accuracy": 0.9}}}
    runs = [Run("app", attack, curves, 1.0, 1, [], [], {}, error) for attack, error in
            (("none", None), ("lie", "ValueError: too large"))]  # fmt: skip
    clean, broken = cells_of([runs], Metric("accuracy", "server", False))
    assert clean["final"] == 0.9
    assert broken["final"] is None
    assert broken["lost"] is None


def test_a_model_that_is_no_number_is_seen_and_a_node_without_data_is_not():
    nan = math.nan
    reports = [Report("evaluate", call, node, 1, {"loss": value}) for call, node, value in
               ((1, 1, 0.5), (1, 2, nan), (1, 3, 9.0), (2, 1, nan), (2, 2, nan))]  # fmt: skip
    found = weighted_means(reports, "evaluate", {3})
    assert found[1] == {"loss": 0.5}
    assert math.isnan(found[2]["loss"])


def test_a_key_of_rounds_without_rounds_is_an_error():
    with pytest.raises(ValueError, match="Parameter `rounds_key` should be given with `rounds`"):
        stress(OWN_START, rounds_key="rounds")


def test_the_app_alone_says_that_no_rule_was_run():
    curves = {"server": {1: {"accuracy": 0.9}}}
    run = Run("app", "none", curves, 1.0, 1, [], [], {})
    found = recommend(cells_of([[run]], Metric("accuracy", "server", False)))
    assert "No rule was run" in found["reason"]


def test_a_metric_that_kept_runs_lack_is_told_before_others_are_run(tmp_path):
    app, runs = app_of(tmp_path, "kept_without"), []
    settings = {"rules": [], "jobs": 1, "out": tmp_path / "out"}
    stress(app, attacks=[], **settings)
    with pytest.raises(ValueError, match="one of accuracy"):
        stress(app, metric="accuracies", on_run=lambda run, *_: runs.append(run), **settings)
    assert runs == []


def test_a_full_disk_is_an_error_in_one_line(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for place in ("kept.replace_file", "results.replace_file"):
        with monkeypatch.context() as changed:
            changed.setattr(f"flwr_byzantine.lab.{place}", full)
            with pytest.raises(ValueError, match=r"`out` .*: No space left") as error:
                stress(OWN_START, rules=[], attacks=[], rounds=1, jobs=1, out=tmp_path)
        assert "\n" not in str(error.value)


SCRIPT = """
from flwr_byzantine.lab import stress
print("once")
result = stress({app!r}, rules=["median"], attacks=["gaussian"], jobs=2)
assert all(cell["error"] is None for cell in result.cells), result.cells
"""


def test_a_script_is_run_once_and_the_app_is_quiet_in_every_process(tmp_path):
    app = app_of(tmp_path, "talks")
    with (tmp_path / "talks.py").open("a") as file:
        file.write("import logging\nlogging.getLogger('flwr').warning('imported')\nprint('here')\n")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(app=str(app)))
    ended = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=120, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, "once\n"), ended.stderr
    assert "imported" not in ended.stderr


@pytest.mark.parametrize(("config", "advice"), [
    ({"a-round": 1, "b-round": 2}, "Pass `rounds_key`"), ({"epochs": 3}, "Pass `rounds_key`"),
    ({"name": "a"}, "Leave `rounds` out"), ({}, "Leave `rounds` out"),
])  # fmt: skip
def test_what_helps_where_the_rounds_have_no_key(config, advice):
    with pytest.raises(ValueError, match=advice):
        key_of_rounds(config)
