"""A user's own model and data by import path: they run, and what does not fit is reported first."""

import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from simulations.catalog import datasets
from simulations.commands import cli
from simulations.commands.cli import app
from simulations.config import RunConfig
from simulations.federation.runner import run_all
from simulations.measure.recording import initial_state
from simulations.sweep.experiment import Cell, load_experiment

pytestmark = pytest.mark.torch

REPOSITORY = next(p for p in Path(__file__).resolve().parents if (p / "pyproject.toml").is_file())
SECTION = (REPOSITORY / "docs" / "simulations.md").read_text()
SECTION = SECTION.split("## Your own model and data")[1].split("\n## ")[0]
MINE, EXPERIMENT = (
    re.search(rf"```{kind}\n(.*?)```", SECTION, re.DOTALL)[1] for kind in ("python", "toml")
)
COMMANDS = [
    found.replace("\\\n", " ").split()[2:]
    for found in re.findall(r"(?m)^\.venv/bin/python ((?:.*\\\n)*.*)$", SECTION)
]

OWN = """
import numpy as np
import torch
from torch import nn

SIZE = 3
NETWORK = nn.Linear(4, 3)

def load():
    rng = np.random.default_rng(0)
    y = rng.permutation(np.arange(90) % 3)
    x = rng.normal(size=(90, 4)) + 2 * np.eye(3, 4)[y]
    return x[:60], y[:60], x[60:], y[60:]

def net(shape, classes):
    return nn.Sequential(nn.Linear(*shape, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, classes))
"""

numbers = itertools.count()


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write a module into the working directory, and return its name. It is unloaded afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    names = []

    def write(text=OWN, name=None):
        names.append(name or f"own_code_{next(numbers)}")
        (tmp_path / f"{names[-1]}.py").write_text(text)
        return names[-1]

    yield write
    for name in names:
        sys.modules.pop(name, None)


@pytest.fixture
def inline(monkeypatch):
    """`run` starts no engine."""
    monkeypatch.setattr(
        cli, "run_all", lambda *args, **options: run_all(*args, **options | {"inline": True})
    )


@pytest.fixture
def untrained(monkeypatch):
    """Make sure that nothing trains."""

    def refuse(*args, **options):
        raise AssertionError("something trained")

    for name in ("run_all", "run_sweep"):
        monkeypatch.setattr(cli, name, refuse)


def invoke(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)])


def told(*arguments):
    """The single line that a command ends with."""
    done = invoke(*arguments)
    assert done.exit_code == 1, done.output
    (line,) = [line for line in done.output.splitlines() if line]
    return line


def own(name, **settings):
    short = {"clients": 4, "rounds": 2, "rule": "mean", "local_steps": 1, "batch_size": 8}
    paths = {"dataset": f"{name}:load", "model": f"{name}:net"}
    return RunConfig(**paths | short | settings)


def test_the_page_is_run_as_it_is_written(module, inline, tmp_path):
    name = module(MINE, "mine")
    (tmp_path / "mine.toml").write_text(EXPERIMENT)
    assert len(MINE.splitlines()) <= 20
    run, sweep, report = COMMANDS
    assert (run[0], sweep[0], report[0]) == ("run", "sweep", "report")
    done = invoke(*run)
    assert done.exit_code == 0, done.output
    result = json.loads((tmp_path / "runs" / "mine" / "result.json").read_text())
    assert result["config"]["model"] == f"{name}:small_net"
    assert result["final_accuracy"] > 0.8
    assert len(result["rounds"]) == 20
    cells = [*load_experiment(tmp_path / "mine.toml").cells("quick")]
    assert [*{cell.config.dataset for cell in cells}] == ["mine:load"]
    assert len(cells) == 8


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(1500)
def test_the_page_runs_in_rays_engine_and_in_several_processes(tmp_path):
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "mine.toml").write_text(EXPERIMENT.replace("rounds = 20", "rounds = 1"))
    env = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    run, sweep, report = COMMANDS
    smaller = ("--clients", "7", "--byzantine", "2", "--rounds", "2")
    for command in ([*run, *smaller], [*sweep, "--jobs", "2"], report):
        started = [sys.executable, "-m", "simulations", *command]
        done = subprocess.run(
            started, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=500
        )
        assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((tmp_path / "runs" / "mine" / "result.json").read_text())
    assert [record["num_failed"] for record in result["rounds"]] == [0, 0]
    assert len([*(tmp_path / "runs" / "mine-cells" / "mine").glob("*.json")]) == 8
    assert "My network on my data" in (tmp_path / "runs/mine-report/report.html").read_text()


SETTINGS = [
    {"partition": "dirichlet", "alpha": 0.5},
    {"partition": "sorted", "evaluate_on": "train"},
    {"partition": "classes", "classes_per_client": 2, "test_samples": 10},
    {"partition": "quantity", "gradient_samples": 20},
    {"partition": "iid+dirichlet", "partition_among": "honest", "byzantine": 1, "attack": "lying"},
    {"partition": "shared", "api": "legacy"},
    {"rule": "bygars", "auxiliary": 20, "local_steps": 1, "payload": "gradients"},
    {"rule": "fltrust", "auxiliary": 20},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_they_go_with_every_partition_and_setting(module, settings):
    (result,) = run_all([own(module(), **settings)], inline=True)
    assert not isinstance(result, Exception), result
    assert 0 <= result["final_accuracy"] <= 1
    assert all(record["num_failed"] == 0 for record in result["rounds"])


def test_the_seed_decides_the_first_weights(module):
    name = module(f"{OWN}\ntorch.manual_seed(1)\n")  # random numbers drawn at import do not matter
    first, again, other = (initial_state(own(name, seed=seed)) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first.values(), again.values(), strict=True))
    assert not torch.equal(first["0.weight"], other["0.weight"])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        assert torch.equal(first["0.weight"], nn.Linear(4, 8).weight)


@pytest.mark.parametrize(
    "code",
    [
        "def made(size, number):\n    return nn.Linear(*size, number)",
        "def made(classes):\n    return nn.Linear(4, classes)",
        "def made():\n    return nn.Linear(4, 3)",
        "def made(shape=(7,), classes=7, bias=False):\n    return nn.Linear(*shape, classes, bias)",
        "made = lambda shape, classes: nn.Linear(*shape, classes)",
        "class made(nn.Sequential):\n    def __init__(self):\n        super().__init__(nn.Linear(4, 3))",
        "class made(nn.Linear):\n    def __init__(self, hidden=3):\n        super().__init__(4, hidden)",
    ],
)
def test_a_model_may_be_any_function_or_class(module, code):
    (result,) = run_all([own(module(OWN), model=f"{module(OWN + code)}:made")], inline=True)
    assert not isinstance(result, Exception), result


def test_a_listed_model_goes_with_own_data_and_the_other_way_round(module):
    code = (
        "def flat(shape, classes):\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))"
    )
    name = module(OWN + code)
    assert RunConfig(dataset=f"{name}:load").model == "mlp"
    configs = [own(name, model="mlp-small"), own(name, model=f"{name}:flat", dataset="digits")]
    for result in run_all(configs, inline=True):
        assert not isinstance(result, Exception), result


@pytest.mark.parametrize(
    "code",
    [
        "def load():\n    return (X[:8], Y[:8]), (X[8:], Y[8:])",
        "def load(data_dir):\n    assert data_dir == 'there'\n    return X[:8], Y[:8], X[8:], Y[8:]",
        "def load(folder):\n    assert folder == 'there'\n    return X[:8], Y[:8], X[8:], Y[8:]",
        "def load():\n    return X[:8].tolist(), Y[:8].tolist(), torch.tensor(X[8:]), torch.tensor(Y[8:])",
        "def load():\n    return X[:8].astype('uint8'), Y[:8].astype(float), X[8:], Y[8:].astype('int8')",
    ],
)
def test_data_may_be_arrays_tensors_or_lists(module, code):
    text = "X = np.arange(120).reshape(12, 10)\nY = np.arange(12) % 3\n"
    train, test = datasets.load(f"{module(f'{OWN}{text}{code}')}:load", "there")
    assert (train.x.dtype, train.y.dtype) == (torch.float32, torch.int64)
    assert train.x.tolist() == np.arange(80).reshape(8, 10).tolist()
    assert test.y.tolist() == [2, 0, 1, 2]


def test_attacks_on_labels_know_the_classes(module):
    name = module()
    common = {"byzantine": 1, "attack": "label_flip"}
    configs = [
        own(name, **common),
        own(name, **common, attack_args={"source": 0, "target": 2}),
        own(name, byzantine=1, attack="random_labels"),
        own(name, byzantine=2, attack="mixed"),
        own(name, **common, attack_args={"num_classes": 3}),
    ]
    results = run_all(configs, inline=True)
    for result in results:
        assert not isinstance(result, Exception), result
        assert all(record["num_failed"] == 0 for record in result["rounds"])
    same = [result["parameters_sha256"] for result in (results[0], results[-1])]
    assert same[0] == same[1]


@pytest.mark.parametrize(
    ("attack", "arguments", "words"),
    [
        ("label_flip", "source=0 target=5", "`target` should be less than `num_classes = 3`"),
        ("label_flip", "num_classes=10", "`num_classes` should be 3, the number of classes"),
        ("backdoor", "target=3 value=2 size=1", "`target` should be less than 3"),
    ],
)
def test_an_attack_on_classes_that_are_not_there_is_told(
    module, untrained, attack, arguments, words
):
    paths = ("--dataset", f"{module()}:load", "--clients", 4, "--byzantine", 1)
    assert words in told("run", *paths, "--attack", attack, "--attack-args", arguments)


def returning(train=("x", "y"), test=("x", "y"), more=""):
    """The code of a loader that returns this."""
    return (
        "import numpy as np\nx, y = np.ones((6, 4)), np.arange(6) % 3\n"
        f"def load():\n    {more or 'pass'}\n"
        f"    return ({train[0]}, {train[1]}), ({test[0]}, {test[1]})\n"
    )


NO_DATA = [
    ("def load():\n    return 1, 2, 3", "returned 3 values"),
    ("def load():\n    return None", "returned a value of type NoneType"),
    ("def load(a, b):\n    pass", "asks for other arguments: load(a, b)"),
    ("def load():\n    raise FileNotFoundError('no\\nfile')", "FileNotFoundError: no file (own_code_"),
    (returning(train=("x[:5]", "y")), "x_train has 5 samples and y_train 6 labels"),
    (returning(test=("x", "y[:4]")), "x_test has 6 samples and y_test 4 labels"),
    (returning(train=("x[:0]", "y[:0]")), "x_train has the shape (0, 4)"),
    (returning(test=("x", "y[:0]")), "y_test has the shape (0,)"),
    (returning(train=("x[:, 0]", "y")), "x_train has the shape (6,)"),
    (returning(train=("x * np.nan", "y")), "x_train holds NaN"),
    (returning(test=("x * np.inf", "y")), "x_test holds NaN, or numbers that are no finite float32"),
    (returning(train=("x", "y + 0.5")), "y_train holds 0.5"),
    (returning(train=("x", "y - 1")), "y_train holds -1"),
    (returning(train=("x", "y * np.nan")), "y_train holds nan"),
    (returning(train=("x", "y + 1"), test=("x", "y + 1")), "labels of 12 samples go from 1 to 3"),
    (returning(train=("x", "100 * y")), "labels of 12 samples go from 0 to 200"),
    (returning(train=("x", "np.eye(3)[y]")), "y_train has the shape (6, 3)"),
    (returning(train=("x", "['a'] * 6")), "y_train has values of type"),
    (returning(train=("[[1], [1, 2]]", "y")), "x_train is no array"),
    (returning(test=("x[:, :2]", "y")), "the shapes (4,) in x_train and (2,) in x_test"),
    (returning(more="x = np.random.default_rng().normal(size=(6, 4))"), "when it was called again"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "words"), NO_DATA)
def test_data_that_are_none_are_told_in_one_line(module, untrained, text, words):
    path = f"{module(text)}:load"
    line = told("run", "--dataset", path, "--clients", 2, "--rule", "mean")
    assert line.startswith(
        "Parameter `--dataset` should be a function that returns `(x_train, y_train)"
    )
    assert f"Found `--dataset {path}`" in line
    assert words in line


NO_MODEL = [
    ("nowhere:net", "there is no module `nowhere`"),
    ("nowhere.deep:net", "there is no module `nowhere.deep`"),
    ("{}.py:net", "Leave out `.py`: write `{}:net`."),
    ("{}:nett", "`{}` has no `nett`. It has `load`, `net`"),
    ("{}:SIZE", "is of type int and cannot be called"),
    ("{}:NETWORK", "is a network. Name what builds it"),
    ("{}:load", "returned a value of type tuple"),
    ("{}:needs", "asks for other arguments: needs(a, b, c)"),
    ("{}:fails", "raised ZeroDivisionError: division by zero ({}.py, line "),
    ("{}:wide", "made (2, 7) of two samples"),
    ("{}:narrow", "raised RuntimeError: "),
    ("{}:again", "returned the same network twice"),
    ("{}:empty", "has nothing to train"),
    ("{}:numpy", "had other weights when it was built again"),
    ("{}:unused", "raised RuntimeError: "),
    ("lenet", "network for samples of shape (4,) that returns 3 numbers for each"),
]
MODELS = """
def needs(a, b, c): ...
def fails(): return 1 / 0
def wide(shape): return nn.Linear(*shape, 7)
def narrow(): return nn.Linear(3, 3)
def again(): return NETWORK
def empty(): return nn.Flatten()
def numpy():
    network = nn.Linear(4, 3)
    nn.init.constant_(network.bias, np.random.default_rng().normal())
    return network
def unused():
    network = nn.Linear(4, 3)
    network.spare = nn.Linear(4, 3)
    return network
"""


@pytest.mark.parametrize(("path", "words"), NO_MODEL)
def test_a_model_that_does_not_fit_is_told_in_one_line(module, untrained, tmp_path, path, words):
    name = module(OWN + MODELS)
    path, words = path.format(name), words.format(name)
    line = told("run", "--dataset", f"{name}:load", "--model", path, "--clients", 4)
    assert line.startswith("Parameter `--model` should be ")
    assert f"Found `--model {path}`" in line
    assert words in line
    experiment = EXPERIMENT.replace("mine:load", f"{name}:load").replace("mine:small_net", path)
    (tmp_path / "own.toml").write_text(experiment)
    in_toml = told("sweep", "own.toml", "--out", tmp_path / "cells")
    assert in_toml.replace("`model`", "`--model`").replace("`model = ", "`--model ") == line
    assert not (tmp_path / "cells").exists()


def test_a_module_that_cannot_be_imported_says_why(module, untrained):
    for text, words in (
        ("import nowhere_at_all", "ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("def load(:", "SyntaxError: "),
        ("import sys\nsys.exit(3)", "SystemExit: 3"),
    ):
        line = told("run", "--dataset", f"{module(text)}:load")
        assert "but its module cannot be imported: " in line
        assert words in line


def test_a_misspelt_name_is_told_which_there_are(untrained):
    line = told("run", "--dataset", "digit")
    assert "`--dataset` should be one of digits, mnist" in line
    assert (
        "or an import path such as `my_package.data:load`. Found `--dataset digit`. Did you mean `digits`?"
        in line
    )
    line = told("run", "--model", "networks.small_net")
    assert "mlp-small" in line
    assert "or an import path such as `my_package.networks:small_net`." in line
    line = told("run", "--model", "networks/small.py:net")
    assert "should be an import path such as" in line
    assert "import path" not in told("run", "--attack", "gausian", "--byzantine", 1)


def test_partition_draws_own_data(module, tmp_path):
    name = module()
    done = invoke(
        "partition", "--dataset", f"{name}:load", "--clients", 5, "--out", tmp_path / "who.svg"
    )
    assert done.exit_code == 0, done.output
    drawn = (tmp_path / "who.svg").read_text()
    assert f"{name}:load, iid" in drawn
    assert "class 2" in drawn
    assert "class 3" not in drawn
    line = told("partition", "--dataset", f"{name}:lod", "--out", tmp_path / "no.svg")
    assert f"`{name}` has no `lod`" in line


def test_the_key_of_a_cell_has_the_paths_and_needs_no_module():
    def cell(**settings):
        config = RunConfig(**{"dataset": "a:load", "model": "a:net"} | settings)
        return Cell("one", "two", "mean", "none", "", 0, config)

    keys = [cell(), cell(dataset="b:load"), cell(model="a:other"), cell(model="mlp"), cell(seed=1)]
    assert len({own.key for own in keys}) == 5
    assert cell(data_dir="elsewhere").key == cell().key
    listed = Cell("one", "two", "mean", "none", "", 0, RunConfig(rule="mean", dataset="digits"))
    assert listed.key == "09955a4b3be884b3"


def test_the_help_names_import_paths():
    text = " ".join(re.sub(r"[│\s]+", " ", invoke("run", "--help").output).split())
    assert "by import path" in text
