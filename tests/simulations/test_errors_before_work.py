"""Mistakes end in one line before anything trains, and old results are never taken for new ones."""

import pytest
from typer.testing import CliRunner

from simulations.commands import cli
from simulations.commands.cli import app
from simulations.commands.display import table
from simulations.config import RunConfig
from simulations.federation.runner import run_all
from simulations.report.document import write_report
from simulations.report.view import Results
from simulations.sweep.experiment import load_experiment

pytestmark = pytest.mark.torch

OWN = """
title = "Is 2 enough?"
source = "a question of our own"
settings = { clients = 5, rounds = 1 }
profiles = { quick = { note = "All.", seeds = [0, 1] } }
rules = { mean = { rule = "mean" } }
attacks = { none = {} }
figures = { one = { title = "One", rules = ["mean"], attacks = ["none"] } }
"""


def refuse(*args, **options):
    raise AssertionError("something trained")


@pytest.fixture
def untrained(monkeypatch):
    """Make sure that nothing trains."""
    for name in ("run_all", "run_sweep", "run_demo"):
        monkeypatch.setattr(cli, name, refuse)


def invoke(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)])


def lines(result):
    return [line for line in result.output.splitlines() if line]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("--attack gaussian", "`--attack gaussian`. Found `--byzantine 0`"),
        ("--byzantine 4", "should name an attack for `--byzantine 4`"),
        ("--dataset mnist --data-dir nowhere", "--download"),
        ("--rule-args foo=1", "arguments of Phocas: it has none. Found `foo`"),
        ("--rule-args b=2", "Set f with `--assumed-byzantine`."),
        ("--rule-args foo", "should read `name=value name=value`. Found `foo`"),
        ("--attack gaussian --byzantine 2 --attack-args foo=1", "Found `--attack-args 'foo'`"),
        ("--attack ipm --byzantine 2 --attack-args epsilom=1", "Did you mean `epsilon`?"),
        ("--attack gaussian --byzantine 2 --attack-args deviation=much", "deviation"),
        ("--rule phocass", "`--rule` should be one of"),
        ("--rule phocass", "Found `--rule phocass`. Did you mean `phocas`?"),
        ("--rule nmm+phocas", "There is no nmm. Did you mean `nnm`?"),
        ("--rule nnm+phocass", "Did you mean `phocas`?"),
        ("--rule clipping+mean --rule-args treshold=2", "Did you mean `threshold`?"),
        ("--attack sign-flop --byzantine 2", "Did you mean `sign_flip`?"),
        ("--dataset mnst", "Did you mean `mnist`?"),
        ("--partition dirichlt", "Did you mean `dirichlet`?"),
        ("--partition iid+dirichlt", "Did you mean `dirichlet`?"),
        ("--attack-start 5", "`--attack-start` should be left out without an attack"),
        ("--attack ipm --byzantine 4 --rounds 3 --attack-start 4", "so nobody would ever attack"),
        ("--redraw", "Parameter `--redraw` should be left out without Byzantine clients"),
        ("--placement drawn", "Found `--placement drawn`. Set `--byzantine`, or leave it out."),
        ("--partition-among honest", "`--partition-among` should be left out without Byzantine"),
        (
            "--local-epochs 1 --local-steps 3",
            "`--local-steps` should be left out with `--local-epochs`",
        ),
        ("--alpha 0.1", "It is for the partition `dirichlet` and `quantity`."),
        ("--partition sorted --alpha 0.1", "Parameter `--alpha` should be left out"),
        ("--gamma 0.1", "Parameter `--gamma` should be left out"),
        ("--clients 8 --assumed-byzantine 3 --rule krum", "Found `--clients 8`"),
        ("--rounds 0", "`--rounds`: Input should be greater than or equal to 1"),
    ],
)
def test_mistakes_in_a_run_are_told_in_one_line(untrained, tmp_path, options, told):
    done = invoke("run", *options.split(), "--out", tmp_path / "run")
    assert done.exit_code == 1
    (line,) = lines(done)
    assert told in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "options",
    ["--attack bit_flip", "--attack gambler", "--attack backdoor", "--rule baseline --byzantine 2"],
)
def test_some_attacks_need_no_byzantine_clients(untrained, tmp_path, options):
    done = invoke("run", *options.split(), "--out", tmp_path)
    assert "something trained" in done.output


def test_a_folder_that_cannot_be_written_is_told_first(untrained, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "mine.toml").write_text(OWN)
    out = ("--out", tmp_path / "file" / "deep")
    for command in (
        ("run",),
        ("partition",),
        ("demo",),
        ("sweep", tmp_path / "mine.toml"),
        ("report", tmp_path, tmp_path / "mine.toml"),
    ):
        done = invoke(*command, *out)
        assert done.exit_code == 1
        (line,) = lines(done)
        assert "Parameter `--out` should be a folder in which you may write." in line


def test_a_sweep_tells_once_that_the_data_are_not_there(untrained, tmp_path):
    done = invoke("sweep", "multi_bulyan", "--data-dir", tmp_path, "--out", tmp_path / "cells")
    assert done.exit_code == 1
    (line,) = lines(done)
    assert "--download" in line


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("rounds = 1", "round = 1", "`round`: There is no such setting"),
        ("rounds = 1", "rounds = 0", "`rounds`: Input should be greater than or equal to 1"),
        ('rule = "mean"', 'rule = "mena"', "`rule` should be one of"),
        ('title = "Is 2 enough?"', "", "`title`: It is missing"),
        ('source = "', "source = ", "line 3"),
        (
            "none = {}",
            'none = { attack = "lie", attack_args = { foo = 1 } }',
            "`attack_args = 'foo'`",
        ),
    ],
)
def test_mistakes_in_a_file_are_told_in_one_line(untrained, tmp_path, old, new, told):
    file = tmp_path / "mine.toml"
    file.write_text(OWN.replace(old, new))
    for command in (("sweep", file), ("report", tmp_path, file)):
        done = invoke(*command, "--out", tmp_path / "out")
        assert done.exit_code == 1
        (line,) = lines(done)
        assert line.startswith(f"{file}: ")
        assert told in line


def test_a_result_is_replaced_where_that_is_asked_for(tmp_path, monkeypatch):
    inline = lambda *args, **options: run_all(*args, **options | {"inline": True})  # noqa: E731
    options = ("run", "--rounds=1", "--clients=3", "--rule=median", "--out", tmp_path)
    result = tmp_path / "result.json"
    result.write_text("old")
    (tmp_path / "reputations.png").write_text("old")
    monkeypatch.setattr(cli, "run_all", refuse)
    done = invoke(*options)
    assert done.exit_code == 1
    (line,) = lines(done)
    assert "--overwrite" in line
    assert result.read_text() == "old"
    monkeypatch.setattr(cli, "run_all", inline)
    done = invoke(*options, "--overwrite")
    assert done.exit_code == 0, done.output
    assert "precision" in done.output
    assert "recall" in done.output
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_the_table_of_a_run_has_precision_and_recall():
    (result,) = run_all(
        [RunConfig(rule="krum", attack="gaussian", clients=5, byzantine=1, rounds=1)], inline=True
    )
    grid = table([result], ["krum"])
    shown = {column.header: [*column.cells] for column in grid.columns}
    assert shown["recall"] == ["100.0 %"]
    assert shown["precision"] == [f"{100 * result['detection']['precision']:.1f} %"]


def test_a_report_on_a_folder_without_results_is_refused(tmp_path):
    result = invoke("report", tmp_path, "phocas_mnist", "--out", tmp_path / "report")
    assert result.exit_code == 1
    assert (
        "holds no result of phocas_mnist with --profile quick: give the folder" in lines(result)[0]
    )
    assert len(lines(result)) == 1
    assert not (tmp_path / "report").exists()


def test_a_folder_without_results_is_not_packed(tmp_path):
    result = invoke("pack", tmp_path)
    assert result.exit_code == 1
    assert "should hold results. Found none." in lines(result)[0]
    assert not any(tmp_path.iterdir())


def test_no_error_says_twice_what_was_found(untrained):
    result = invoke("run", "--rule-args", "{bad")
    assert result.output.count("Found") == 1


def test_a_report_of_ones_own_shows_accuracies_under_its_title(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(OWN)
    out = tmp_path / "out"
    swept = invoke("sweep", file, "--out", tmp_path, "--jobs", 1)
    assert swept.exit_code == 0, swept.output
    done = invoke("report", tmp_path, file, "--out", out)
    assert done.exit_code == 0, done.output
    assert "Is 2 enough?, one" in done.output
    assert "not run" not in done.output
    assert "claims" not in done.output
    assert (out / "README.md").read_text().startswith("# Is 2 enough?\n")


def test_a_report_removes_the_pictures_of_an_earlier_one(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(OWN)
    results = Results([load_experiment(file)], "quick", tmp_path)
    out = tmp_path / "out"
    write_report(results, out)
    readme = (out / "README.md").read_text()
    (out / "README.md").write_text(f"{readme}\n![An accuracy](old-one-accuracy.png)\n")
    for name in ("old-one-accuracy.png", "holiday.png"):
        (out / name).write_text("a picture")
    write_report(results, out)
    assert not (out / "old-one-accuracy.png").exists()
    assert (out / "holiday.png").exists()
    (out / "README.md").write_text("# Mine\n\n![Holiday](holiday.png)\n")
    write_report(results, out)
    assert (out / "holiday.png").exists()
