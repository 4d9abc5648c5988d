"""Apps that do not use this library run in one process, unchanged, alone and behind `RobustGrid`."""

import subprocess
import sys
from pathlib import Path

import pytest
import sklearn  # noqa: F401 - the apps have their digits from it

from flwr_byzantine.lab.flower_app import key_of_rounds, load_flower_app

APPS = Path(__file__).resolve().parents[1] / "apps"
NAMES = sorted(path.parent.name for path in APPS.glob("*/pyproject.toml"))
# name -> the source of its numbers, and the metric
EXPECTED = {
    "legacy_server_fn": ("server", "centralized_accuracy"),
    "own_start": ("server", "top1"),
    "raw_loop": ("evaluation", "accuracy"),
    "sklearn_logistic": ("evaluation", "accuracy"),
    "torch_batchnorm": ("evaluation", "eval_acc"),
    "torch_loader": ("server", "accuracy"),
}
RUN = """
import json, sys
from dataclasses import asdict
from flwr_byzantine.lab.cell import Federation, run_cell
from flwr_byzantine.lab.flower_app import load_flower_app
from flwr_byzantine.lab.scores import choose_metric
app = load_flower_app(sys.argv[1])
for rule, attack in (("app", "none"), ("phocas", "none"), ("app", sys.argv[2]), ("phocas", sys.argv[2])):
    run = run_cell(app, rule, attack, Federation(10, 2, config=json.loads(sys.argv[3])))
    metric = choose_metric(run.curves) if run.error is None else None
    print("RESULT", json.dumps({**asdict(run), "metric": metric and asdict(metric)}))
"""


def test_every_app_is_expected():
    assert set(NAMES) == set(EXPECTED)


def runs_of(name, attack, **config):
    """The results of an app's runs, in a process of its own."""
    import json

    done = subprocess.run(
        [sys.executable, "-c", RUN, str(APPS / name), attack, json.dumps(config)],
        capture_output=True, text=True, timeout=250, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    return [json.loads(line.removeprefix("RESULT ")) for line in lines]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_an_unmodified_app_is_broken_by_an_attack_and_held_by_a_rule(name):
    clean, robust, attacked, held = runs_of(name, "gaussian")
    source, metric = EXPECTED[name]
    for run in (clean, robust, attacked, held):
        assert run["error"] is None
        assert (run["metric"]["source"], run["metric"]["name"]) == (source, metric)
    ends = [
        run["curves"][source][max(run["curves"][source], key=int)][metric]
        for run in (clean, robust, attacked, held)
    ]
    assert min(ends[0], ends[1], ends[3]) > 0.75
    assert 0 <= ends[2] < 0.5
    assert all(len(ids) == 2 for ids in attacked["byzantine"])
    assert clean["byzantine"] == []


def test_the_key_of_the_rounds():
    assert key_of_rounds(load_flower_app(APPS / "own_start").config) == "rounds"
    with pytest.raises(ValueError, match=r"Found a-round, b-rounds\. Pass `rounds_key`"):
        key_of_rounds({"a-round": 1, "b-rounds": 2})
    with pytest.raises(ValueError, match="no whole number"):
        key_of_rounds({"rounds": 1.5})
    assert key_of_rounds({"a-round": 1, "b-rounds": 2}, "b-rounds") == "b-rounds"


@pytest.mark.parametrize(("content", "found"), [
    (None, "no pyproject.toml"),
    ("[tool", "no TOML"),
    ("[project]\nname = 'x'", "without that section"),
    ("[tool.flwr.app.components]\nserverapp = 'a:b'", "without one of its two parts"),
    ("[tool.flwr.app.components]\nserverapp = 'nothing_there:app'\nclientapp = 'x:y'", "cannot be imported"),
    ("[tool.flwr.app.components]\nserverapp = 'json:loads'\nclientapp = 'json:dumps'", "a function"),
])  # fmt: skip
def test_no_app(content, found, tmp_path):
    if content is not None:
        (tmp_path / "pyproject.toml").write_text(content)
    with pytest.raises(ValueError, match=found) as error:
        load_flower_app(tmp_path)
    assert str(error.value).startswith("Parameter `app` should be a folder with a Flower app")
    assert "\n" not in str(error.value)
