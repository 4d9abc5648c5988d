"""Runs of a stress test leave no files behind, and overwrite none."""

import os
from pathlib import Path

import pytest
from small_app import small_app

from flwr_byzantine.lab import scratch as module
from flwr_byzantine.lab import stress
from flwr_byzantine.lab.scratch import inside, scratch

SAVES = (
    "import os, pathlib\n"
    "    pathlib.Path('model.txt').write_text('attacked')\n"
    "    os.makedirs('results', exist_ok=True)\n"
    "    pathlib.Path('results/curve.csv').write_text('attacked')\n"
    "    pathlib.Path('new.txt').write_text('attacked')\n"
    "    assert pathlib.Path('data/own.csv').read_text() == 'app'\n"
    "    assert pathlib.Path('input/x.csv').read_text() == 'user'\n"
)
TRAINS = (
    "import pathlib; pathlib.Path('node.txt').write_text(pathlib.Path('data/own.csv').read_text())"
)


def tree(folder):
    """Every file of a folder, with its content."""
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in Path(folder).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


@pytest.fixture
def users(tmp_path, monkeypatch):
    """A user's current folder, and an app in another folder that saves and reads files."""
    app = small_app(tmp_path / "app", end=SAVES, train=TRAINS, top="open('imported', 'w').close()")
    here = tmp_path / "here"
    for name, text in (("app/data/own.csv", "app"), ("here/input/x.csv", "user"),
                       ("here/model.txt", "mine"), ("here/results/curve.csv", "mine"),
                       ("app/model.txt", "mine too")):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(here)
    return tmp_path, app


@pytest.mark.parametrize("settings", [
    {"jobs": 1},
    pytest.param({"jobs": 2}, marks=pytest.mark.slow),
    pytest.param({"engine": "ray"}, marks=[pytest.mark.slow, pytest.mark.ray]),
])  # fmt: skip
def test_runs_overwrite_nothing_and_read_what_is_there(users, settings):
    folder, app = users
    before = tree(folder)
    result = stress(app, rules=[], attacks=["sign_flip"], clients=5, byzantine=1, **settings)
    assert [cell["error"] for cell in result.cells] == [None, None]
    assert Path.cwd() == folder / "here"
    assert tree(folder) == before


def test_the_current_folder_is_restored_after_an_error_and_results_are_where_they_were_asked(users):
    folder, app = users
    small_app(app, end="import os; os.chdir('/'); raise KeyError('late')")
    with pytest.raises(ValueError, match="late"):
        stress(app, rules=[], attacks=[], clients=5, jobs=1)
    assert Path.cwd() == folder / "here"
    small_app(app)
    stress("../app", rules=[], attacks=[], clients=5, jobs=1, out="out")
    assert (folder / "here" / "out" / "stress.html").is_file()


def test_what_is_large_is_a_link(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_BYTES", 100)
    monkeypatch.setattr(module, "MOST_FILES", 4)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "large").write_bytes(bytes(101))
    (tmp_path / "small").write_bytes(bytes(50))
    (tmp_path / "many").mkdir()
    for i in range(6):
        (tmp_path / "many" / str(i)).touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "up").symlink_to("..")
    (tmp_path / "nowhere").symlink_to("not there")
    with scratch(None):
        links = {name for name in os.listdir() if os.path.islink(name)}
        assert {*os.listdir()} == {"large", "small", "many", "folder", "nowhere"}
        assert links == {"large", "many", "nowhere"}
        assert os.path.samefile("folder/up", tmp_path)
        made = Path.cwd()
    assert not made.exists()
    assert Path.cwd() == tmp_path


def test_a_folder_that_is_not_there_is_not_entered(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with inside(str(tmp_path / "no")), inside(None):
        assert Path.cwd() == tmp_path
    (tmp_path / "yes").mkdir()
    with inside(str(tmp_path / "yes")):
        assert Path.cwd() == tmp_path / "yes"
    assert Path.cwd() == tmp_path
