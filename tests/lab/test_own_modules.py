"""Apps in one process have modules of their own."""

import shutil
import subprocess
import sys
import threading
import types
from dataclasses import replace
from pathlib import Path

import pytest
from small_app import small_app

from flwr_byzantine.lab import stress
from flwr_byzantine.lab.cell import Federation, run_cell
from flwr_byzantine.lab.flower_app import load_client_app, load_flower_app

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "digits-numpy"
SAYS = "raise ValueError(NAME)"
FEW = Federation(3, 0)


def said(folder, **settings):
    """The text with which an app's server ends in a run."""
    return run_cell(load_flower_app(folder), "app", "none", FEW).error


def test_apps_whose_modules_have_the_same_names(tmp_path):
    before, path = dict(sys.modules), list(sys.path)
    apps = [load_flower_app(small_app(tmp_path / name, name, end=SAYS)) for name in ("one", "two")]
    for app in (*apps, *reversed(apps)):
        assert run_cell(app, "app", "none", FEW).error == f"ValueError: {app.name}"
    assert sys.path == path
    assert not [name for name in sys.modules if name.startswith("tiny")]
    assert {name: sys.modules[name] for name in before} == before


def test_modules_of_somebody_else_are_neither_taken_nor_replaced(tmp_path, monkeypatch):
    theirs = {name: types.ModuleType(name) for name in ("tiny", "tiny.task")}
    theirs["tiny.task"].NAME = "theirs"
    for name, module in theirs.items():
        monkeypatch.setitem(sys.modules, name, module)
    assert said(small_app(tmp_path, "ours", end=SAYS)) == "ValueError: ours"
    assert {name: sys.modules[name] for name in theirs} == theirs
    assert "tiny.server" not in sys.modules


@pytest.mark.skipif(not EXAMPLE.exists(), reason="the examples are not in the wheel")
def test_an_example_that_was_imported_before_with_a_rule_in_it(tmp_path, monkeypatch):
    protected = tmp_path / "protected"
    shutil.copytree(EXAMPLE, protected)
    command = ["patch", "-p1", "-i", EXAMPLE / "robust.diff"]
    subprocess.run(command, cwd=protected, check=True, capture_output=True)
    monkeypatch.syspath_prepend(str(protected))
    from digits_numpy import task

    try:
        result = stress(EXAMPLE, rules=["median"], attacks=["gaussian"], rounds=2, jobs=1)
        assert result.recommendation["rule"] == "median"
        assert sys.modules["digits_numpy.task"] is task
    finally:
        for name in [name for name in sys.modules if name.startswith("digits_numpy")]:
            del sys.modules[name]


def test_a_changed_file_is_read_again(tmp_path):
    for name in ("aaa", "bbb", "ccc"):  # of one size, and written in the same second
        assert said(small_app(tmp_path, name, end=SAYS)) == f"ValueError: {name}"
    assert not list(tmp_path.rglob("*.pyc"))


def test_a_run_begins_with_nothing_from_another_one(tmp_path):
    app = small_app(tmp_path, top="RUNS = []", end="RUNS.append(1)\n    assert len(RUNS) == 1")
    result = stress(app, rules=["fedavg"], attacks=[], clients=3, byzantine=0, jobs=1)
    assert [cell["error"] for cell in result.cells] == [None, None]


def test_halves_find_their_modules_when_they_are_called_by_themselves(tmp_path):
    from flwr_byzantine.lab.in_process import InProcessGrid, as_running_task, server_context

    as_running_task()
    app = load_flower_app(small_app(tmp_path, "called", end=SAYS))
    with pytest.raises(ValueError, match="called"):
        app.server(InProcessGrid(app.client, 2), server_context(app.config))


def test_classes_of_an_app_can_be_pickled_and_sent_to_a_process(tmp_path):
    end = (
        "import multiprocessing, pickle, tiny.task as task\n"
        "    assert pickle.loads(pickle.dumps(task.step)) is task.step\n"
        "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "        assert pool.map(task.step, [[1]]) == [[2]]\n"
    )
    assert said(small_app(tmp_path, end=end)) is None


def test_modules_by_a_path_that_the_app_makes(tmp_path):
    top = "import sys, pathlib\nsys.path.append(str(pathlib.Path(__file__).parent))\nimport task as near"
    path = list(sys.path)
    for name in ("one", "two"):
        app = small_app(tmp_path / name, name, top=top, end="raise ValueError(near.NAME)")
        assert said(app) == f"ValueError: {name}"
    assert sys.path == path
    assert "task" not in sys.modules


def test_files_called_like_modules_that_flower_has_loaded(tmp_path):
    app = small_app(tmp_path, end="import numpy, random\n    random.random(), numpy.zeros(1)")
    for name in ("numpy", "random", "flwr_byzantine"):
        (app / f"{name}.py").write_text("raise ImportError('not this one')")
    (
        app / "sklearn"
    ).mkdir()  # data, say: the installed package comes before a folder without modules
    assert said(app) is None


def test_threads_wait_for_the_modules_of_another_app(tmp_path):
    apps = [load_flower_app(small_app(tmp_path / name, name, end=SAYS)) for name in ("one", "two")]
    seen = []

    def use():
        with apps[1].in_use():
            seen.append(__import__("tiny.task").task.NAME)

    with apps[0].in_use():
        thread = threading.Thread(target=use)
        thread.start()
        thread.join(0.2)
        assert seen == []
        assert __import__("tiny.task").task.NAME == "one"
        with apps[1].in_use():  # the thread that uses an app need not wait for itself
            assert __import__("tiny.task").task.NAME == "two"
        assert __import__("tiny.task").task.NAME == "one"
    thread.join(10)
    assert seen[-1] == "two"


@pytest.mark.parametrize(("below", "more"), [
    ("src", ""),
    ("src", '[tool.hatch.build.targets.wheel]\npackages = ["src/tiny"]\n'),
    ("lib/python", '[tool.hatch.build.targets.wheel]\npackages = ["lib/python/tiny"]\n'),
    ("code", '[tool.setuptools.packages.find]\nwhere = ["code"]\n'),
    ("code", '[tool.setuptools.package-dir]\n"" = "code"\n'),
    ("code", '[[tool.poetry.packages]]\ninclude = "tiny"\nfrom = "code"\n'),
])  # fmt: skip
def test_packages_below_the_folder(tmp_path, below, more):
    assert (
        said(small_app(tmp_path, "below", below=below, more=more, end=SAYS)) == "ValueError: below"
    )


def test_a_component_may_name_the_folder_below_itself(tmp_path):
    app = small_app(tmp_path, "dotted", below="src", end=SAYS)
    project = (app / "pyproject.toml").read_text()
    (app / "pyproject.toml").write_text(project.replace('"tiny.', '"src.tiny.'))
    assert "No module named 'tiny'" in said(app)  # `flwr run` says the same
    for path in app.rglob("*.py"):
        path.write_text(path.read_text().replace("from tiny", "from src.tiny"))
    assert said(app) == "ValueError: dotted"


def test_installed_packages_in_the_folder_are_no_code_of_the_app(tmp_path):
    app = small_app(tmp_path)
    before = load_flower_app(app).code
    installed = app / ".venv" / "lib" / "python3.11" / "site-packages"
    installed.mkdir(parents=True)
    (installed / "other.py").write_text("x = 1")
    assert load_flower_app(app).code == before
    (app / "tiny" / "more.py").write_text("x = 1")
    assert load_flower_app(app).code != before


@pytest.mark.parametrize("library", ["pickle", "ray.cloudpickle"])
def test_halves_can_be_sent_to_another_process(tmp_path, library):
    pickle = pytest.importorskip(library)
    app = load_flower_app(small_app(tmp_path, "sent", end=SAYS))
    client, server = pickle.loads(pickle.dumps((app.client, app.server)))
    sent = replace(app, client=client, server=server)
    assert sent.folder is None
    (tmp_path / "tiny" / "other.py").write_text(
        "from tiny.client import ClientApp\nother = ClientApp()"
    )
    other = load_client_app(tmp_path, "tiny.other:other")
    assert len(vars(pickle.loads(pickle.dumps(other)))["_registered_funcs"]) == 0
    assert run_cell(sent, "app", "none", FEW).error == "ValueError: sent"


def test_threads_of_one_app_that_was_loaded_twice_do_not_wait_for_each_other(tmp_path):
    app = small_app(tmp_path, "twice")
    first, second = load_flower_app(app), load_flower_app(app)
    seen = []

    def use():
        with second.in_use():
            seen.append(__import__("tiny.task").task.NAME)

    with first.in_use():
        thread = threading.Thread(target=use)
        thread.start()
        thread.join(20)
        assert seen == ["twice"]
    assert "tiny" not in sys.modules
