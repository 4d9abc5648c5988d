"""Values of an app's configuration are read as `flwr run` reads them, or one line says what is wrong."""

import json
import shlex

import pytest
from small_app import small_app

from flwr_byzantine.commands.cli import main
from flwr_byzantine.commands.run_config import read_config
from flwr_byzantine.lab import stress
from flwr_byzantine.lab.app_config import check_config
from flwr_byzantine.lab.command import command_of

DEFAULTS = {"rounds": 3, "lr": 0.1, "name": "sgd", "shuffle": True, "path": "", "model.width": 4}


@pytest.mark.parametrize(("options", "found"), [
    ([], {}),
    (["lr=0.2"], {"lr": 0.2}),
    (["lr=1 rounds=2", "shuffle=false"], {"lr": 1, "rounds": 2, "shuffle": False}),
    (["""name="a b=c" path='/x y'"""], {"name": "a b=c", "path": "/x y"}),
    (['name="it\'s"'], {"name": "it's"}),
    (["model.width=8"], {"model.width": 8}),
    (["lr=1", "lr=2"], {"lr": 2}),
    (["lr=1e-5   rounds=1_000 "], {"lr": 1e-5, "rounds": 1000}),
    (['name="x.toml"'], {"name": "x.toml"}),
])  # fmt: skip
def test_pairs(options, found):
    assert read_config(options) == found
    from flwr.common.config import parse_config_args

    assert parse_config_args(options) == found  # `flwr run` reads the same


def test_a_toml_file(tmp_path, monkeypatch):
    file = tmp_path / "over.toml"
    file.write_text('lr = 0.2\nname = "a b"\n[model]\nwidth = 8\n')
    assert read_config([str(file)]) == {"lr": 0.2, "name": "a b", "model.width": 8}
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read_config(["~/over.toml"])["lr"] == 0.2


@pytest.mark.parametrize(("options", "words"), [
    (["lr"], "'lr' is no pair of a key and a value"),
    (["lr 0.1"], "'lr' is no pair"),
    (["lr = 0.1"], "'lr' is no pair"),
    (["lr=0.1,rounds=2"], "lr=0.1,rounds=2"),
    (["name=adam"], "the value of 'name' is text without quotes"),
    (['name="adam'], 'name="adam'),
    (["lr="], "is no pair"),
    (["lr=[1, 2]"], "is no pair"),
    (["lr=[1,2]"], "lr="),
    (["=3"], "is no pair"),
    (["nowhere.toml"], "No such file"),
    (["a.toml", "lr=1"], "a file together with other values"),
    (["lr=1", "b.toml"], "a file together with other values"),
])  # fmt: skip
def test_what_is_no_pair_is_one_line(options, words):
    with pytest.raises(ValueError, match="Parameter `run-config` should be pairs of the") as error:
        read_config(options)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_toml_is_one_line(tmp_path):
    for text in ("lr == 1", "lr = [1]"):
        (tmp_path / "x.toml").write_text(text)
        with pytest.raises(ValueError, match=r"x\.toml") as error:
            read_config([str(tmp_path / "x.toml")])
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("changed", [
    {}, {"rounds": 2.5}, {"lr": 1}, {"shuffle": False}, {"path": 3}, {"path": True}, {"name": ""},
])  # fmt: skip
def test_values_that_an_app_takes(changed):
    check_config(DEFAULTS, changed)


@pytest.mark.parametrize(("changed", "words"), [
    ({"lr": "0.1"}, "should be a number for `lr`. Found `lr = '0.1'`. The app's own value is 0.1."),
    ({"rounds": True}, "should be a number for `rounds`"),
    ({"shuffle": 1}, "should be true or false for `shuffle`"),
    ({"shuffle": "no"}, "should be true or false"),
    ({"name": 3}, "should be a text for `name`"),
    ({"lr": None}, "should be a number for `lr`"),
    ({"lr": [1]}, "`flwr run` takes whole numbers, numbers, texts, and true or false"),
    ({"path": None}, "should be a text"),
    ({"rate": 1}, "should be made of rounds, lr, name"),
])  # fmt: skip
def test_values_of_another_kind_and_unknown_keys(changed, words):
    with pytest.raises(ValueError, match="Parameter `config`") as error:
        check_config(DEFAULTS, changed)
    assert words in str(error.value)


@pytest.mark.parametrize("options", [["-c", "lr 0.1"], ["-c", "none=1"], ["--run-config", "num-rounds=two"],
                                     ["-c", 'num-rounds="2"']])  # fmt: skip
def test_on_the_command_line_it_is_one_line(tmp_path, capsys, options):
    app = small_app(tmp_path)
    assert main(["stress", str(app), "--out", str(tmp_path / "out"), *options]) == 2
    shown = capsys.readouterr()
    assert shown.out.strip() == ""
    (line,) = shown.err.splitlines()
    assert line.startswith("Parameter `")


@pytest.mark.parametrize(
    "text", ["", "a b", 'say "so"', "it's", "\\", 'a\\"b\\', "ü 😀", "x=1 y=2", "\n\t"]
)
def test_a_command_says_texts_so_that_they_are_read_again(text):
    words = shlex.split(
        command_of("app", [("app", "none")], {"name": text, "lr": 1e-5, "on": True})
    )
    options = [words[i + 1] for i, word in enumerate(words) if word == "-c"]
    assert read_config(options) == {"name": text, "lr": 1e-5, "on": True}


def test_the_command_runs_the_same_again(tmp_path, capsys, monkeypatch):
    app = small_app(tmp_path / "an app", more='num-round-trips = 1\ntitle = "x"\n')
    settings = {"rounds": 2, "rounds_key": "num-rounds", "metric": "accuracy", "jobs": 1}
    settings |= {"lower_is_better": True, "seed": 3, "clients": 5, "byzantine": 1}
    result = stress(
        app, rules=["median"], attacks=["sign_flip"], config={"title": 'my "own"'},
        out=tmp_path / "out", **settings,
    )  # fmt: skip
    words = shlex.split(result.data["command"])
    for option in ("--rounds 2", "--rounds-key num-rounds", "--jobs 1", "--lower-is-better",
                   "--metric accuracy", "--seed 3", "--clients 5", "--byzantine 1"):  # fmt: skip
        assert option in result.data["command"]
    first = json.loads((tmp_path / "out" / "stress.json").read_text())
    assert main(words[1:]) == 0
    again = json.loads((tmp_path / "out" / "stress.json").read_text())
    assert again == first


def test_rounds_are_said_once(tmp_path):
    app = small_app(tmp_path)
    with pytest.raises(ValueError, match="Parameter `rounds` should be left out"):
        stress(app, rounds=2, config={"num-rounds": 3}, jobs=1)
