"""`stress` runs an app under attacks, with and without rules, from Python and from the command line."""

import json
import math
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import sklearn  # noqa: F401 - the apps have their digits from it

from flwr_byzantine.commands.cli import main
from flwr_byzantine.lab import StressResult, assert_keeps, stress
from flwr_byzantine.lab.cases import Case, KeptCases
from flwr_byzantine.lab.cell import Federation, Run
from flwr_byzantine.lab.flower_app import load_flower_app
from flwr_byzantine.lab.in_process import PATIENCE, InProcessGrid
from flwr_byzantine.lab.names import AGAINST, ATTACKS, attack_named, rule_named
from flwr_byzantine.lab.on_data.node import CANNOT
from flwr_byzantine.lab.results import cells_of, recommend
from flwr_byzantine.lab.scores import Metric, choose_metric
from flwr_byzantine.rules import Krum, Mean, NearestNeighborMixing, Phocas

APPS = Path(__file__).resolve().parents[1] / "apps"
OWN_START = APPS / "own_start"
CURVES = {"server": {1: {"accuracy": 0.5}}}
ACCURACY = Metric("accuracy", "server", False)


def run(rule, attack, value, seconds=1.0, error=None, nodes=None):
    """A run that ended with a value."""
    curves = {"server": {} if value is None else {1: {"accuracy": 0.1}, 2: {"accuracy": value}}}
    return Run(rule, attack, curves, seconds, 2, [], [], nodes or {}, error)


def grid_of(values, seconds=None):
    """Runs from rule -> (without attack, under one)."""
    return [
        run(rule, attack, value, (seconds or {}).get(rule, 1.0))
        for rule, pair in values.items()
        for attack, value in zip(("none", "lie"), pair, strict=True)
    ]


# The recommendation.


@pytest.mark.parametrize(("values", "seconds", "rule", "words"), [
    ({"app": (0.9, 0.2), "median": (0.85, 0.8), "krum": (0.7, 0.7)}, {}, "median",
     r"median loses 10\.0 points at worst \(under lie\), where the app without a rule loses 70\.0"),
    ({"app": (0.9, 0.2), "median": (0.89, 0.89), "phocas": (0.9, 0.895)},
     {"median": 1.0, "phocas": 2.0}, "median", r"but slower: phocas\."),
    ({"app": (0.9, 0.2), "median": (0.89, 0.89), "phocas": (0.9, 0.895)},
     {"median": 2.0, "phocas": 1.0}, "phocas", r"but slower: median\."),
    ({"app": (0.9, 0.2), "median": (0.89, 0.89), "phocas": (0.9, 0.895)},
     {"median": 1.0, "phocas": 1.05}, "phocas", r"but no quicker: median\.$"),
    ({"app": (0.9, 0.2), "median": (0.89, 0.89), "phocas": (0.9, 0.895)},
     {"app": 1.0, "median": 0.6, "phocas": 1.05}, "phocas", r"but no quicker: median\.$"),
    ({"app": (0.9, 0.85), "median": (0.7, 0.7)}, {}, None,
     r"None: the defence costs more than these attacks\. .*loses 5\.0 points at worst"),
    ({"app": (0.9, 0.895), "median": (0.95, 0.95)}, {}, None, "None: the defence costs more"),
    ({"app": (0.9, None), "median": (0.8, 0.8)}, {}, "median", "app without a rule fails"),
    ({"app": (0.9, float("nan")), "median": (0.8, 0.8)}, {}, "median", "fails"),
    ({"app": (0.9, 0.1), "median": (0.8, None), "krum": (0.7, 0.7)}, {}, "krum", "krum"),
    ({"app": (0.9, 0.1), "median": (0.8, float("nan"))}, {}, None, "No rule came to a result"),
    ({"app": (None, 0.1), "median": (0.8, 0.8)}, {}, None, "no result without an attack"),
])  # fmt: skip
def test_the_recommendation_and_its_reason(values, seconds, rule, words):
    found = recommend(cells_of([grid_of(values, seconds)], ACCURACY))
    assert found["rule"] == rule
    assert re.search(words, found["reason"]), found["reason"]


@pytest.mark.parametrize("reason", [None, f"ValueError: backdoor {CANNOT}, no images"])
def test_without_an_attack_that_was_made_nothing_is_said_about_its_cost(reason):
    """No attack was asked for, or none could be made."""
    runs = grid_of({"app": (0.9, None), "median": (0.8, None)})
    runs = [replace(run, error=reason if run.attack == "lie" else None) for run in runs]
    runs = [run for run in runs if reason or run.attack == "none"]
    found = recommend(cells_of([runs], ACCURACY))
    assert found["rule"] is None
    assert found["reason"].startswith("No attack was run: nothing shows what a rule would save.")
    assert ("Attacks that could not be made do not count: lie." in found["reason"]) == bool(reason)


def test_points_lost_of_an_accuracy_and_of_a_loss():
    cells = cells_of([grid_of({"app": (0.9, 0.2), "median": (0.95, 0.8)})], ACCURACY)
    assert [round(cell["lost"], 9) for cell in cells] == [0, 70, -5, 10]
    assert [cell["final"] for cell in cells] == [0.9, 0.2, 0.95, 0.8]
    low = Metric("accuracy", "server", True)  # as if it were a loss: in per cent of the app's own
    cells = cells_of([grid_of({"app": (2.0, 3.0), "median": (1.0, 2.0)})], low)
    assert [cell["lost"] for cell in cells] == [0, 50, -50, 0]


def test_who_loses_by_a_defence():
    runs = [
        run("app", "none", 0.9, nodes={1: {"accuracy": 0.9}, 2: {"accuracy": 0.8}}),
        run("krum", "none", 0.5, nodes={1: {"accuracy": 0.85}, 2: {"accuracy": 0.2}}),
    ]
    found = StressResult.of("x", [runs], ACCURACY, {}).data["clients_who_lose"]["krum"]
    assert [(node, round(lost, 6)) for node, lost in found] == [("2", 60.0), ("1", 5.0)]


# Names.


def test_names_of_rules():
    assert rule_named("nnm+phocas", 2) == NearestNeighborMixing(2) >> Phocas(2)
    assert rule_named("krum", 3) == Krum(3)
    for wrong in ("krumm", "krum+nnm", "nnm", "", "nnm+", "+krum"):
        with pytest.raises(
            ValueError, match="Parameter `rules` should be chosen from mean, median"
        ):
            rule_named(wrong, 2)
    with pytest.raises(ValueError, match="needs more than a name"):
        rule_named("clipping+krum", 2)


@pytest.mark.parametrize("name", [*ATTACKS, *AGAINST])
def test_every_attack_can_be_made_by_its_name(name):
    assert callable(attack_named(name, 10, 2, Mean()))


def test_names_of_attacks():
    assert {"sign_flip", "lie", "ipm", "min_max", "opt_lie", "opt_ipm", "gaussian"} <= {
        *ATTACKS, *AGAINST,
    }  # fmt: skip
    with pytest.raises(ValueError, match=r"Parameter `attacks` should be chosen from none, .*lie"):
        attack_named("li", 10, 2, Mean())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["own_start", "sklearn_logistic"])
def test_the_attacks_of_the_default_break_an_app(name):
    found = stress(APPS / name, rules=["median"], attacks=["sign_flip"], jobs=1)
    assert found.cell("app", "sign_flip")["lost"] > 50
    assert found.cell("median", "sign_flip")["lost"] < 10
    assert found.recommendation["rule"] == "median"


# Metrics.


def test_the_metric_that_says_most():
    server = {"server": {1: {"loss": 1.0, "acc": 0.5}}}
    nodes = {"evaluation": {1: {"eval_loss": 1.0}}, "training": {1: {"train_acc": 0.5}}}
    assert choose_metric(server | nodes) == Metric("acc", "server", False)
    assert choose_metric(nodes) == Metric("eval_loss", "evaluation", True)
    assert choose_metric(nodes, "train_acc") == Metric("train_acc", "training", False)
    assert choose_metric(nodes, "train_acc", True).lower_is_better
    with pytest.raises(ValueError, match="one of eval_loss, train_acc"):
        choose_metric(nodes, "accuracy")
    with pytest.raises(ValueError, match="let the nodes evaluate and report a number"):
        choose_metric({})


# Errors before any run.


@pytest.mark.parametrize(("arguments", "words"), [
    ({"rules": ["krumm"]}, "Parameter `rules`"),
    ({"rules": "krum"}, "Parameter `rules` should be a list of names"),
    ({"attacks": ["lies"]}, "Parameter `attacks`"),
    ({"rules": ["krum"], "clients": 6}, r"Parameter `clients` should be at least 7 for `krum` with `byz"),
    ({"clients": 2, "byzantine": 2}, "Parameter `byzantine` should be below `clients = 2`"),
    ({"clients": 0}, "Parameter `clients`"),
    ({"byzantine": -1}, "Parameter `byzantine`"),
    ({"byzantine": 0}, "Parameter `byzantine` should be at least 1 for `sign_flip`"),
    ({"rounds": 0}, "Parameter `rounds`"),
    ({"rounds": 2, "rounds_key": "no"}, "Parameter `rounds_key` should be one of rounds, local-steps"),
    ({"config": {"no": 1}}, "Parameter `config` should be made of rounds, local-steps"),
    ({"seed": -1}, "Parameter `seed`"),
])  # fmt: skip
def test_users_errors(arguments, words):
    with pytest.raises(ValueError, match=words) as error:
        stress(OWN_START, **arguments)
    assert "\n" not in str(error.value)


def test_an_app_in_memory_runs_in_one_process_and_says_so():
    with pytest.raises(ValueError, match=r"`jobs` should be 1 for an app that was loaded.*folder"):
        stress(load_flower_app(OWN_START), jobs=2)


def test_errors_on_the_command_line_are_one_line(capsys):
    assert main(["stress", "nowhere"]) == 2
    printed, shown = capsys.readouterr()
    assert printed == ""
    assert shown.startswith("Parameter `app` should be a folder with a Flower app")
    assert shown.count("\n") == 1
    assert main(["stress", str(OWN_START), "--rules", "krumm"]) == 2
    assert main(["strss"]) == 2
    assert main(["stress", "--help"]) == 0
    assert main(["--version"]) == 0


@pytest.mark.parametrize(("options", "said"), [
    ("--clients 0", "`--clients` should be a whole number of at least 1. Found `--clients 0`."),
    ("--byzantine 120%", "`--byzantine` should be a share from 0% to 100%. Found `--byzantine 120%`."),
    ("--byzantine two", "`--byzantine` should be a whole number. Found `--byzantine two`."),
    ("--byzantine 100%", "`--byzantine` should be below `--clients 10`. Found `--byzantine 10`."),
    ("-c foo=1", "`--run-config` should be made of"),
    ("--engine foo", "`--engine` should be 'inline' or 'ray'. Found `--engine 'foo'`."),
])  # fmt: skip
def test_errors_name_options(capsys, options, said):
    assert main(["stress", str(OWN_START), *options.split()]) == 2
    shown = " ".join(capsys.readouterr().err.split())
    assert shown.startswith(f"Parameter {said}"), shown


def test_a_share_of_the_nodes_attacks(tmp_path):
    arguments = ["stress", str(OWN_START), "--rules", "app", "--attacks", "none,sign_flip"]
    arguments += ["--clients", "5", "--byzantine", "30%", "--rounds", "1", "--out", str(tmp_path)]
    assert main(arguments) == 0
    assert json.loads((tmp_path / "stress.json").read_text())["byzantine"] == 2


def test_runs_of_an_app_that_comes_from_no_folder_are_not_kept(tmp_path):
    """Nothing shows whether it is still the same app."""
    app = replace(load_flower_app(OWN_START), code="")
    for _ in range(2):
        seen = []
        stress(
            app, rules=[], attacks=[], rounds=1, out=tmp_path, on_run=lambda *r, s=seen: s.append(r)
        )
        assert len(seen) == 1


# Real runs.


def test_a_server_that_waits_for_more_nodes_does_not_wait_for_good():
    grid = InProcessGrid(load_flower_app(OWN_START).client, 1)
    for _ in range(PATIENCE):
        assert list(grid.get_node_ids()) == [1]
    with pytest.raises(TimeoutError, match="waits for more than 1 nodes, but there are only 1"):
        grid.get_node_ids()
    grid.push_messages([])
    assert list(grid.get_node_ids()) == [1]


def test_from_python_with_an_app_in_memory(tmp_path):
    app = load_flower_app(OWN_START)
    seen = []
    result = stress(
        app, rules=["app", "median"], attacks=["gaussian"], rounds=2, out=tmp_path,
        on_run=lambda run, done, total: seen.append((run.rule, run.attack, done, total)),
    )  # fmt: skip
    assert [pair[2:] for pair in seen] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert result.cell("app", "gaussian")["lost"] > 30 > result.cell("median", "gaussian")["lost"]
    assert result.recommendation["rule"] == "median"
    assert result.data["metric"] == "top1"
    assert "<svg" in str(result.heatmap())
    assert "recommended" in (tmp_path / "stress.html").read_text()
    written = json.loads((tmp_path / "stress.json").read_text())
    assert {(c["rule"], c["attack"]) for c in written["cells"]} == {
        (rule, attack) for rule in ("app", "median") for attack in ("none", "gaussian")
    }
    seen.clear()
    stress(app, rules=["app", "median"], attacks=["gaussian"], rounds=2, out=tmp_path)
    again = stress(
        app, rules=["app", "median"], attacks=["gaussian"], rounds=2, out=tmp_path,
        on_run=lambda run, *counts: seen.append(run),
    )  # fmt: skip
    assert seen == []
    assert again.cells == result.cells


def test_each_seed_is_compared_with_the_apps_own(tmp_path):
    app, seen, steps = load_flower_app(OWN_START), [], []
    asked = {"rules": ["median"], "attacks": ["gaussian"], "rounds": 2, "seed": 3, "seeds": 2}
    result = stress(
        app, **asked, on_run=lambda run, *counts: seen.append((run.rule, run.attack, run.seed)),
        on_step=lambda *step: steps.append(step),
    )  # fmt: skip
    assert Counter(seen) == Counter(
        (r, a, s) for r in ("app", "median") for a in ("none", "gaussian") for s in (3, 4)
    )
    assert steps[0] == (0, 16, "starting")
    assert steps[-1][:2] == (16, 16)
    assert "seed 4" in steps[-1][2]
    assert result.data["seeds"] == [3, 4]
    assert len({tuple(run) for cell in result.cells for run in cell["byzantine"]}) == 1
    own = result.cell("app", "none")
    for cell in result.cells:
        assert cell["final"] == pytest.approx(sum(cell["finals"]) / 2)
        assert cell["lost"] == pytest.approx(sum(cell["losses"]) / 2)
        for reference, reached, lost in zip(
            own["finals"], cell["finals"], cell["losses"], strict=True
        ):
            assert lost == pytest.approx(100 * (reference - reached))
        assert [curve[-1][1] for curve in cell["curves"]] == cell["finals"]
        assert cell["curve"][-1][1] == pytest.approx(cell["final"])
    one = stress(app, **asked | {"seeds": 1})
    assert one.cell("app", "gaussian")["finals"] == result.cell("app", "gaussian")["finals"][:1]


def test_one_seed_that_fails_leaves_a_rule_and_attack_without_a_value():
    runs = [
        [
            Run("app", "none", CURVES, 1.0, 1, [], [], {}, seed=seed),
            Run(
                "median", "none", CURVES, 3.0, 1, [], [], {}, "OSError: no" if seed else None, seed
            ),
        ]
        for seed in (0, 1)
    ]
    own, median = StressResult.of("x", runs, ACCURACY, {}).cells
    assert (own["final"], own["finals"], own["error"]) == (0.5, [0.5, 0.5], None)
    assert (median["final"], median["finals"], median["lost"]) == (None, [0.5, None], None)
    assert median["error"] == "seed 1: OSError: no"


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"rule": "app"}'])
def test_a_damaged_result_is_run_again(tmp_path, damage):
    federation = Federation(4, 1)
    kept, case = KeptCases(tmp_path, "inline", "code", federation), Case("app", "none", 0)
    diverged = {"server": {1: {"loss": math.inf}, 2: {"loss": math.nan}}}
    run = Run("app", "none", diverged, 1.0, 2, [[1]], [(1, "2", "kept")], {1: {"loss": 0.5}})
    kept.write(case, run)
    found = kept.read(case)
    assert math.isnan(found.curves["server"].pop(2)["loss"])
    assert found == replace(run, curves={"server": {1: {"loss": math.inf}}})
    assert kept.read(case._replace(seed=1)) is None
    assert KeptCases(tmp_path, "inline", "other code", federation).read(case) is None
    (path,) = (tmp_path / "runs").iterdir()
    path.write_text(damage)
    assert kept.read(case) is None


def test_a_run_that_fails_ends_nothing_and_says_why():
    result = stress(
        load_flower_app(OWN_START), rules=["median"], attacks=["opt_lie"], rounds=1, clients=4,
        byzantine=3,
    )  # fmt: skip
    cell = result.cell("median", "opt_lie")
    assert cell["error"] is None or "\n" not in cell["error"]
    assert len(result.cells) == 4


def test_an_app_that_does_not_run_says_so(tmp_path):
    (tmp_path / "broken_app.py").write_text(
        "from flwr.clientapp import ClientApp\nfrom flwr.serverapp import ServerApp\n"
        "client, server = ClientApp(), ServerApp()\n\n@server.main()\ndef main(grid, context):\n"
        "    raise KeyError('data-path')\n"
    )
    (tmp_path / "pyproject.toml").write_text(
        "[tool.flwr.app.components]\nserverapp = 'broken_app:server'\nclientapp = 'broken_app:client'\n"
    )
    seen = []
    note = lambda run, *counts: seen.append((run.rule, run.attack))  # noqa: E731
    with pytest.raises(ValueError, match=r"runs without an attack.*KeyError: 'data-path'"):
        stress(tmp_path, rules=["median"], attacks=["lie"], jobs=1, on_run=note)
    assert seen == [("app", "none")]
    seen.clear()
    with pytest.raises(ValueError, match=r"`metric` should be one of .*top1.*'f1'"):
        stress(OWN_START, metric="f1", rounds=1, jobs=1, on_run=note)
    assert seen == [("app", "none")]


def test_a_promise_for_ones_own_ci():
    app = load_flower_app(OWN_START)
    assert_keeps(app, 0.6, rule="median", attack="gaussian", rounds=2)
    with pytest.raises(
        AssertionError, match=r"own-start should reach .* of at least 0\.6 under gaussian"
    ):
        assert_keeps(app, 0.6, rule="app", attack="gaussian", rounds=2)


@pytest.mark.slow
def test_the_command_in_several_processes(tmp_path, capsys):
    arguments = ["stress", str(APPS / "sklearn_logistic"), "--rules", "app,median"]
    arguments += ["--attacks", "none,gaussian", "--rounds", "2", "-c", "local-epochs=1"]
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().out
    assert "median" in shown
    assert "stress.html" in shown
    written = json.loads((tmp_path / "out" / "stress.json").read_text())
    assert written["config"] == {"local-epochs": 1, "num-server-rounds": 2}
    assert all(cell["error"] is None for cell in written["cells"])
    assert written["recommendation"]["rule"] == "median"
    assert written["command"].startswith("flwr-byzantine stress ")


def test_what_ends_several_runs_is_told_once(tmp_path, capsys):
    arguments = ["stress", str(APPS / "raw_loop"), "--rules", "app,median", "--rounds", "1"]
    arguments += ["--attacks", "none,label_flip", "--jobs", "1", "--out", str(tmp_path)]
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert shown.count("The attack on data could not be made: ") == 1
    assert "app, label_flip; median, label_flip: " in shown
