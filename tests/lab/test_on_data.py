"""Attacks on the data of unchanged apps, and the success rate of backdoors."""

import json
import shutil
import sys
from collections import namedtuple
from functools import wraps
from pathlib import Path

import numpy as np
import pytest
import stressed
import torch
from flwr.app import ConfigRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import FedAvg
from sklearn.datasets import load_digits
from sklearn.linear_model import LinearRegression, LogisticRegression, SGDClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset

from flwr_byzantine.attacks import Backdoor, LabelFlip
from flwr_byzantine.commands.cli import main
from flwr_byzantine.lab import stress
from flwr_byzantine.lab.flower_app import load_flower_app
from flwr_byzantine.lab.in_process import InProcessGrid, as_running_task
from flwr_byzantine.lab.names import BY_NAME, ON_DATA, attack_named
from flwr_byzantine.lab.on_data.batches import Batch, NotUnderstoodError
from flwr_byzantine.lab.on_data.changes import Poisoned, Triggered, trigger_for
from flwr_byzantine.lab.on_data.doors import intercepted
from flwr_byzantine.lab.on_data.node import ADVICE, CANNOT, OnDataApp, changed, ordered
from flwr_byzantine.lab.page import backdoor, page
from flwr_byzantine.lab.placement import drawn
from flwr_byzantine.lab.recommendation import recommend
from flwr_byzantine.lab.terminal import as_text, success_table
from flwr_byzantine.rules import Mean

REPOSITORY = Path(__file__).resolve().parents[2]
APPS = REPOSITORY / "tests" / "apps"
LOADER, SKLEARN = APPS / "torch_loader", APPS / "sklearn_logistic"
X, Y = torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(20) % 10
Pair = namedtuple("Pair", "features target")


def loader(batch_size=5, kind=DataLoader):
    """A loader of twenty images in order."""
    return kind(TensorDataset(X, Y), batch_size=batch_size)


# How samples are found in batches.


@pytest.mark.parametrize("batch", [
    (X, Y), [X, Y], {"img": X, "label": Y}, {"pixel_values": X, "labels": Y}, Pair(X, Y), (Y, X)[::-1],
    (X.numpy(), Y.numpy()), {"image": X, "fine_label": Y, "coarse_label": Y}, (X, Y, torch.arange(20)),
    (torch.arange(20), X, Y), (X, Y.unsqueeze(1)), (X, Y.to(torch.uint8)), ((X, Y), "ids"), (X.byte(), Y),
    {"x": X, "y": Y, "weights": torch.rand(20, 3)},
])  # fmt: skip
def test_labels_and_samples_are_found(batch):
    found = Batch(batch, True)
    assert found.labels.tolist() == Y.tolist()
    assert found.samples.shape == X.shape
    new = Batch(found.with_these(found.samples * 0, found.labels * 0 + 3), True)
    assert type(new.whole) is type(batch)
    assert set(new.labels.tolist()) == {3}
    assert not new.samples.any()
    some = Batch(found.with_these(found.samples[:2], found.labels[:2], [0, 1]), True)
    assert [part.shape[0] for part in some.parts] == [2] * len(found.parts)


@pytest.mark.parametrize(("batch", "words"), [
    (X, r"no labels .*\(all: float32 of shape \(20, 1, 8, 8\)"),
    ((X, torch.rand(20)), "no labels were found in a batch of tuple"),
    ({"image": X, "a": Y, "b": Y}, "no labels"),
    ({"input_ids": torch.ones(20, 5, dtype=torch.int64), "labels": Y}, "no samples that can carry a trigger"),
    ((X, X, Y), "no samples"),
    ("text", "without arrays"),
    (None, "without arrays"),
])  # fmt: skip
def test_what_is_not_understood_is_said_in_one_line(batch, words):
    with pytest.raises(NotUnderstoodError, match=words) as error:
        Batch(batch, True)
    assert "\n" not in str(error.value)


def test_labels_of_two_classes_may_be_numbers_with_a_point():
    batch = X, (Y % 2).float().unsqueeze(1)
    flipped = Poisoned("label_flip", 0, 1, 0).batch(batch)[1]
    assert flipped.dtype == torch.float32
    assert torch.equal(flipped, 1 - batch[1])


# Loaders that are poisoned, and batches that stay as they are.


class Own(DataLoader):
    """A loader that overrides a method."""

    def __iter__(self):
        yield from super().__iter__()


@pytest.mark.parametrize("kind", [DataLoader, Own])
def test_loaders_are_poisoned_once_and_for_a_while(kind):
    methods = DataLoader.__iter__, Own.__iter__
    with intercepted(Poisoned("label_flip", 0, 1, 10)):
        kept = iter(loader(kind=kind))
        assert next(kept)[1].tolist() == [9, 8, 7, 6, 5]
        assert [y.tolist() for _, y in loader(kind=kind)][-1] == [4, 3, 2, 1, 0]
        assert len(iter(loader(kind=kind))) == 4 if kind is DataLoader else True
    assert (DataLoader.__iter__, Own.__iter__) == methods
    assert next(kept)[1].tolist() == [5, 6, 7, 8, 9]
    assert next(iter(loader(kind=kind)))[1].tolist() == [0, 1, 2, 3, 4]


def test_methods_come_back_after_an_error():
    method = DataLoader.__iter__, LogisticRegression.fit
    with pytest.raises(ZeroDivisionError):
        changed(Poisoned("label_flip", 0, 1, 10), lambda: 1 / (DataLoader.__iter__ is method[0]))
    assert (DataLoader.__iter__, LogisticRegression.fit) == method


def test_the_attacks_are_those_of_the_library():
    batch = X, Y
    assert torch.equal(Poisoned("label_flip", 0, 1, 12).batch(batch)[1], LabelFlip(12)(Y))
    x, y = Poisoned("backdoor", 0, 1, 10).batch(batch)
    with_trigger = [i for i in range(20) if torch.equal(x[i], Backdoor().triggered(X)[i])]
    assert len(with_trigger) == 10
    assert set(y[with_trigger].tolist()) == {0}
    others = [i for i in range(20) if i not in with_trigger]
    assert torch.equal(x[others], X[others])
    assert torch.equal(y[others], Y[others])
    again = Poisoned("backdoor", 0, 1, 10).batch(batch)
    other = Poisoned("backdoor", 0, 2, 10).batch(batch)
    assert torch.equal(again[1], y)
    assert not torch.equal(other[1], y)


def test_a_sample_has_one_random_label_in_whichever_batch():
    order = np.random.default_rng(0).permutation(20)
    drawn = Poisoned("random_labels", 0, 1, 10).batch((X, Y))[1]
    shuffled = Poisoned("random_labels", 0, 1, 10)
    pieces = [shuffled.batch((X[rows], Y[rows]))[1] for rows in np.split(order, 4)]
    assert torch.equal(torch.cat(pieces), drawn[order])
    assert not torch.equal(drawn, Poisoned("random_labels", 0, 2, 10).batch((X, Y))[1])


def test_the_square_is_as_bright_as_samples_are():
    assert trigger_for(X).value is None
    assert trigger_for(X * 16).value == 16
    assert trigger_for(X * 255).value == 255
    assert trigger_for((X * 255).byte()).value == 255
    assert trigger_for(np.zeros((3, 4))).size == 1
    assert trigger_for(np.zeros((3, 64))).size == 3
    assert trigger_for(torch.zeros(3, 3, 2, 2)).size == 2


def test_classifiers_are_poisoned_and_scalers_are_not():
    x, y = np.random.default_rng(0).normal(size=(60, 5)), np.arange(60) % 3
    flipped = LogisticRegression().fit(x, 2 - y)
    poisoned = LogisticRegression()
    change = Poisoned("label_flip", 0, 1, 3)
    with intercepted(change):
        assert poisoned.fit(x, y) is poisoned
        StandardScaler().fit(x, y)
        assert change.count == 60
        pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(x, y=y)
        SGDClassifier().partial_fit(x, y, classes=[0, 1, 2])
    assert change.count == 180
    np.testing.assert_array_equal(poisoned.coef_, flipped.coef_)
    usual = make_pipeline(StandardScaler(), LogisticRegression()).fit(x, 2 - y)
    np.testing.assert_array_equal(pipeline[-1].coef_, usual[-1].coef_)


@pytest.mark.parametrize(("fit", "words"), [
    (lambda: LinearRegression().fit(np.eye(4), np.arange(4)), "LinearRegression is a regressor"),
    (lambda: LogisticRegression().fit(np.eye(4), ["a", "b", "a", "b"]), "labels of type <U1"),
    (lambda: LogisticRegression().fit([["a"], ["b"]], [0, 1]), "are no matrix of numbers"),
    (lambda: [1 for _ in DataLoader(TensorDataset(X))], "no labels were found"),
    (lambda: None, "no data passed"),
])  # fmt: skip
def test_data_that_cannot_be_attacked_are_said(fit, words):
    found, reason = changed(Poisoned("backdoor", 0, 1, 10), fit)
    assert found is None
    assert words in reason


def test_an_app_may_import_torch_where_it_trains(monkeypatch):
    app, calls = ClientApp(), []

    @app.train()
    def train(message, context):
        sys.modules.setdefault("torch.utils.data", torch.utils.data)
        calls.append(next(y.tolist() for _, y in loader(20)))
        return Message(
            RecordDict({"n": MetricRecord({"n": len(message.content)})}), reply_to=message
        )

    monkeypatch.delitem(sys.modules, "torch.utils.data")
    as_running_task()
    content = ordered(RecordDict({"config": ConfigRecord({"round": 1})}), "label_flip")
    grid = InProcessGrid(OnDataApp(app), 1)
    (reply,) = grid.send_and_receive([Message(content, 1, "train")])
    assert reply.content["n"]["n"] == 1
    assert calls == [Y.tolist(), (9 - Y).tolist()]


def test_the_trigger_leaves_out_its_own_class():
    change, seen = Triggered(), []
    data = loader(1)
    with intercepted(change):
        for x, y in data:
            seen.append((x, y))
        assert len(data.dataset) == 18
        assert len(list(data)) == 18
        assert len(data.dataset) == 18
        assert data.dataset.tensors[0] is X
    assert len(data.dataset) == 20
    assert {int(y) for _, y in seen} == {0}
    assert torch.equal(torch.cat([x for x, _ in seen]), Backdoor().triggered(X)[Y != 0])


def test_names():
    assert ON_DATA.keys() == {"label_flip", "random_labels", "backdoor"}
    assert ON_DATA.items() <= BY_NAME.items()
    for name, kind in ON_DATA.items():
        assert attack_named(name, 10, 2, Mean()) == kind()
        assert attack_named(kind.__name__, 10, 2, Mean()) == kind()
    with pytest.raises(ValueError, match=r"chosen from none, .* Did you mean `label_flip`\?$"):
        attack_named("label_flips", 10, 2, Mean())


# Real runs.


TEST = 360  # samples of the app that no node has


def digits():
    """The app's images and labels."""
    found = load_digits()
    order = np.random.default_rng(0).permutation(len(found.target))
    images = (found.data[order] / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    return torch.from_numpy(images), torch.from_numpy(found.target[order])


def exact(arrays, x, y):
    """The success rate, computed directly by the library's method."""
    nn = torch.nn
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    net.load_state_dict(arrays)
    return Backdoor().success_rate(lambda batch: net(batch).detach(), x, y)


@pytest.mark.parametrize("on_server", [True, False])
def test_a_backdoor_works_in_an_app_with_loaders_and_its_success_is_exact(on_server, monkeypatch):
    app, ends, start = load_flower_app(LOADER), [], FedAvg.start

    @wraps(start)
    def noting(*arguments, **keywords):
        result = start(*arguments, **keywords)
        ends.append(result.arrays.to_torch_state_dict())
        return result

    monkeypatch.setattr(FedAvg, "start", noting, raising=False)
    config = {"server-evaluates": on_server}
    result = stress(app, rules=["median"], attacks=["backdoor"], rounds=3, config=config)
    assert result.data["source"] == ("server" if on_server else "evaluation")
    x, y = digits()
    if on_server:
        x, y = x[:TEST], y[:TEST]
    else:  # the honest nodes evaluate
        x, y = x[TEST:], y[TEST:]
        honest = ~torch.isin(torch.arange(len(y)) % 10 + 1, torch.tensor([*drawn(10, 2, 0)]))
        x, y = x[honest], y[honest]
    for cell, arrays in zip(result.cells, ends, strict=True):
        assert cell["error"] is cell["note"] is None
        assert cell["attack_success_rate"] == pytest.approx(exact(arrays, x, y), abs=1e-6)
    works = {(c["rule"], c["attack"]): c["attack_success_rate"] for c in result.cells}
    assert works["app", "backdoor"] > 0.2
    assert max(works["app", "none"], works["median", "none"], works["median", "backdoor"]) < 0.05
    assert result.recommendation["rule"] == "median"


def test_attackers_are_those_that_the_grid_draws():
    app = load_flower_app(LOADER)
    for seed in (0, 3):
        cells = stress(
            app,
            rules=[],
            attacks=["label_flip", "ipm"],
            rounds=2,
            seed=seed,
            config={"local-epochs": 1},
        ).cells
        of = {cell["attack"]: cell["byzantine"] for cell in cells}
        assert of["label_flip"] == of["ipm"]
        assert [len(ids) for ids in of["ipm"]] == [2, 2]
        assert of["none"] == []


def test_scikit_learn_and_the_nodes_evaluation():
    cells = stress(
        load_flower_app(SKLEARN), rules=["median"], attacks=["label_flip", "backdoor"]
    ).cells
    assert [cell["error"] for cell in cells] == [None] * 6
    works = {(c["rule"], c["attack"]): c["attack_success_rate"] for c in cells}
    assert works["app", "label_flip"] is None
    assert works["app", "none"] < 0.05 < works["app", "backdoor"]


def test_legacy_apps():
    cells = stress(
        load_flower_app(REPOSITORY / "examples" / "digits-torch"), rules=["median"], rounds=2,
        attacks=["backdoor", "ipm"],
    ).cells  # fmt: skip
    assert [cell["error"] for cell in cells] == [None] * 6
    works = {(c["rule"], c["attack"]): c["attack_success_rate"] for c in cells}
    assert works["app", "backdoor"] > 0.9 > works["app", "none"]
    of = {(cell["rule"], cell["attack"]): cell["byzantine"] for cell in cells}
    assert of["app", "backdoor"] == of["median", "backdoor"] == of["app", "ipm"]
    assert [len(ids) for ids in of["app", "ipm"]] == [2, 2]


@pytest.mark.parametrize("app", [
    REPOSITORY / "examples" / "digits-numpy", APPS / "own_start", APPS / "raw_loop",
    APPS / "legacy_server_fn", APPS / "torch_batchnorm",
], ids=lambda path: path.name)  # fmt: skip
def test_apps_whose_data_pass_nothing_that_is_known_say_so(app):
    result = stress(load_flower_app(app), rules=["median"], attacks=["label_flip", "ipm"], rounds=1)
    for rule in ("app", "median"):
        error = result.cell(rule, "label_flip")["error"]
        assert CANNOT in error
        assert ADVICE in error
        assert "\n" not in error
        assert result.cell(rule, "ipm")["error"] is None
    assert "label_flip" in result.recommendation["reason"]
    assert "No rule came to a result" not in result.recommendation["reason"]


def test_without_loaders_the_success_is_not_known_and_the_reason_is_noted():
    cells = stress(
        load_flower_app(APPS / "own_start"), rules=[], attacks=["backdoor"], rounds=1
    ).cells
    assert cells[0]["attack_success_rate"] is None
    assert "could not be measured" in cells[0]["note"]
    assert "\n" not in cells[0]["note"]


@pytest.mark.slow
def test_both_engines_come_to_the_same():
    pytest.importorskip("ray")
    told = {"rules": ["median"], "attacks": ["backdoor", "label_flip"], "rounds": 2, "jobs": 2}
    app = REPOSITORY / "examples" / "digits-torch"
    here, there = (stress(app, engine=engine, **told) for engine in ("inline", "ray"))
    for key in ("final", "attack_success_rate", "byzantine", "error", "note"):
        assert [cell[key] for cell in here.cells] == [cell[key] for cell in there.cells]
    numpy = stress(APPS / "own_start", rules=[], attacks=["label_flip"], rounds=1, engine="ray")
    assert CANNOT in numpy.cell("app", "label_flip")["error"]


def test_on_the_command_line(tmp_path, capsys):
    told = ["stress", str(LOADER), "--rules", "median", "--attacks", "backdoor", "--rounds", "2"]
    assert main([*told, "--jobs", "1", "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "Share of samples with the trigger that the model takes for the target class" in shown
    found = json.loads((tmp_path / "stress.json").read_text())
    assert all(0 <= cell["attack_success_rate"] <= 1 for cell in found["cells"])
    assert "How often the backdoor works" in (tmp_path / "stress.html").read_text()


# The recommendation, and what is shown.


def cell(rule, attack, lost, rate=None, error=None, note=None):
    """The fields of a run in `stress.json` that matter here."""
    return {
        "rule": rule, "attack": attack, "lost": lost, "seconds_per_round": 1.0, "error": error,
        "attack_success_rate": rate, "note": note,
    }  # fmt: skip


def test_a_rule_under_which_the_backdoor_works_is_not_recommended_for_its_accuracy():
    cells = [
        cell("app", "none", 0.0, 0.05), cell("app", "backdoor", 0.5, 0.95),
        cell("median", "none", -1.0, 0.9), cell("median", "backdoor", -1.0, 0.8),
        cell("krum", "none", 8.0, 0.0), cell("krum", "backdoor", 9.0, 0.01),
    ]  # fmt: skip
    found = recommend(cells)
    assert found["rule"] == "krum"
    assert "krum loses 9.0 points at worst (under backdoor)" in found["reason"]
    assert (
        "loses 90.5 points (under backdoor, 90.0 of them because the backdoor works)"
        in found["reason"]
    )
    only = recommend([each for each in cells if each["rule"] != "krum"])
    assert only["rule"] == "median"
    assert "loses 74.0 points at worst" in only["reason"]


def test_an_attack_that_could_not_be_made_does_not_count():
    error = f"{CANNOT}: no data passed. {ADVICE}."
    cells = [
        cell(rule, attack, lost, None, error if attack == "label_flip" else None)
        for rule, attack, lost in (
            ("app", "none", 0.0), ("app", "label_flip", None), ("app", "lie", 50.0),
            ("median", "none", 0.0), ("median", "label_flip", None), ("median", "lie", 2.0),
        )
    ]  # fmt: skip
    found = recommend(cells)
    assert found["rule"] == "median"
    assert found["reason"].endswith("Attacks that could not be made do not count: label_flip.")


def test_a_success_that_is_not_known_is_said():
    cells = [cell("app", "none", 0.0), cell("app", "backdoor", 20.0), cell("median", "none", 0.0)]
    cells.append(
        cell("median", "backdoor", 1.0, note="The attack success rate could not be measured.")
    )
    assert recommend(cells)["reason"].endswith("How often backdoor works is not known.")


def test_the_page_and_the_terminal_show_the_rates():
    result = stressed.example()
    assert "backdoor works" not in page(result)
    assert success_table(result) is None
    for i, each in enumerate(result["cells"]):
        if each["attack"] in ("none", "ipm"):
            each["attack_success_rate"] = i / 100
    result["cells"][4]["note"] = "Not measured <here>."
    shown = page(result)
    assert "How often the backdoor works" in shown
    assert "Not measured &lt;here&gt;." in shown
    assert backdoor.TITLE in as_text(result)
    assert backdoor.COUNTED in shown
    table = success_table(result)
    assert list(table.columns) == ["rule", "no attack", "ipm"]
    assert [str(text) for text in table.rows[0]] == [
        "app",
        "0\N{NO-BREAK SPACE}%",
        "3\N{NO-BREAK SPACE}%",
    ]


# A user's own ClientApp for attackers.

ATTACKERS = """
from flwr.app import ArrayRecord
from own_start.client_app import app as honest
from flwr.clientapp import ClientApp

app = ClientApp()

@app.train()
def train(message, context):
    reply = honest(message, context)
    arrays = reply.content["arrays"].to_numpy_ndarrays()
    reply.content["arrays"] = ArrayRecord([-9 * array for array in arrays])
    return reply
"""


def with_attackers(folder):
    """A copy of an app, with a ClientApp for its attackers."""
    shutil.copytree(APPS / "own_start", folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "own_start" / "attackers.py").write_text(ATTACKERS)
    return folder


@pytest.mark.parametrize("engine", ["inline", pytest.param("ray", marks=pytest.mark.slow)])
def test_attackers_run_a_client_app_of_the_users(engine, tmp_path):
    told = {"rules": ["median"], "attacks": ["ipm"], "rounds": 2, "jobs": 1, "engine": engine}
    result = stress(with_attackers(tmp_path / "own"), malicious="own_start.attackers:app", **told)
    assert [cell["error"] for cell in result.cells] == [None] * 6
    assert result.cell("app", "malicious")["lost"] > 30 > result.cell("median", "malicious")["lost"]
    assert result.cell("app", "malicious")["byzantine"] == result.cell("app", "ipm")["byzantine"]
    assert "--malicious own_start.attackers:app" in result.data["command"]


@pytest.mark.parametrize(("told", "words"), [
    ({"attacks": ["malicious"]}, "Parameter `malicious` should be given for the attack `malicious`"),
    ({"malicious": "nothing:app"}, r"Parameter `malicious` should be .*Found .*cannot be imported"),
    ({"malicious": "own_start.data:digits"}, "Parameter `malicious` should be .*that is a "),
])  # fmt: skip
def test_what_attackers_cannot_run_is_said(told, words):
    with pytest.raises(ValueError, match=words) as error:
        stress(APPS / "own_start", rules=[], **({"attacks": []} | told))
    assert "\n" not in str(error.value)
