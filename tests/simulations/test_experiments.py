"""Experiments in files, and the sweep over their cells."""

import hashlib
import io
import json
import re
from collections import Counter

import pytest
import torch
from experiments import all_experiments
from rich.console import Console
from typer.testing import CliRunner

from flwr_byzantine.lab.kept import PACKED, Kept, write
from flwr_byzantine.lab.processes import MOST, run_here
from simulations.commands import checks
from simulations.commands.cli import app
from simulations.config import RunConfig
from simulations.measure.summary import summarise
from simulations.sweep import experiment as experiments
from simulations.sweep import jobs as sweeping
from simulations.sweep.cells import cell_path, missing_cells, read_cell
from simulations.sweep.experiment import (
    FOLDER,
    NAMES,
    YOUNGER,
    Cell,
    Experiment,
    load_experiment,
)
from simulations.sweep.jobs import batches, sweep
from simulations.sweep.machine import available_memory

pytestmark = pytest.mark.torch

DESCRIBED = {
    "name": "small",
    "title": "A small experiment",
    "source": "Nowhere",
    "settings": {"clients": 5, "rounds": 2},
    "profiles": {"quick": {"note": "Small.", "seeds": [0]}},
    "rules": {"mean": {"rule": "mean"}, "median": {"rule": "median"}},
    "attacks": {"no attack": {}, "flip": {"attack": "sign_flip", "byzantine": 1}},
    "figures": {"one": {"title": "One", "rules": ["mean", "median"], "attacks": ["no attack", "flip"]}},
}  # fmt: skip

MINE = """
title = "Mine"
source = "a question"
settings = { clients = 5, rounds = 1 }
profiles = { quick = { note = "All.", seeds = [0, 1] } }
rules = { mean = { rule = "mean" } }
attacks = { none = {} }
figures = { one = { title = "One", rules = ["mean"], attacks = ["none"] } }
"""


def experiment(**changes):
    return Experiment(**DESCRIBED | changes)


@pytest.mark.parametrize("profile", ["quick", "paper"])
@pytest.mark.parametrize("name", NAMES)
def test_every_file_describes_runs_with_a_key_for_each_configuration(name, profile):
    own = load_experiment(FOLDER / f"{name}.toml")
    assert own.profiles[profile].note
    cells = list(own.cells(profile))
    by_key = {cell.key: cell.config for cell in cells}
    assert all(by_key[cell.key] == cell.config for cell in cells)
    assert len(by_key) == len({cell.config for cell in cells})
    places = Counter(
        (cell.figure, cell.rule, cell.attack, cell.variant, cell.seed) for cell in cells
    )
    assert set(places.values()) == {1}


@pytest.mark.parametrize("name", NAMES)
def test_a_note_that_counts_the_cells_counts_right(name):
    own = load_experiment(FOLDER / f"{name}.toml")
    told = re.match(r"([\d,]+) cells", own.profiles["quick"].note)
    if told or own.group == "study":
        count = len({cell.key for cell in own.cells("quick")})
        assert int(told[1].replace(",", "")) == count


def test_the_experiments_are_those_of_the_four_papers():
    expected = {
        "bygars_cifar", "bygars_mnist", "fall_of_empires", "multi_bulyan", "phocas_cifar", "phocas_mnist"
    }  # fmt: skip
    assert expected <= {own.name for own in all_experiments()}


def test_a_key_depends_on_what_decides_the_result_alone():
    here, there = (list(experiment().cells("quick", folder)) for folder in ("here", "there"))
    assert [cell.key for cell in here] == [cell.key for cell in there]
    assert here[0].config != there[0].config
    folders = [cell("mean", dataset="image-folder", data_dir=folder) for folder in "ab"]
    assert folders[0].key != folders[1].key
    longer = experiment(settings={"clients": 5, "rounds": 3}).cells("quick", "here")
    assert not {cell.key for cell in longer} & {cell.key for cell in here}


def test_a_younger_setting_at_its_default_leaves_the_key_as_it_was():
    """Cells that ran before a setting existed keep their names."""
    own = cell("mean", dataset="digits")
    told = own.config.model_dump(exclude={*own.places, *YOUNGER})
    described = json.dumps(told, sort_keys=True).encode()
    assert own.key == hashlib.sha256(described).hexdigest()[:16]
    assert set(YOUNGER) < set(RunConfig.model_fields)
    assert own.key == "2ed067862ea07a85"
    others = [
        cell("mean", momentum=0.5), cell("mean", weight_decay=0.1),
        cell("mean", partition_among="honest"), cell("mean", partition="gamma"),
        cell("mean", partition="gamma", gamma=0.2), cell("mean", partition="classes"),
        cell("mean", partition="classes", classes_per_client=3),
    ]  # fmt: skip
    assert len({own.key, *(other.key for other in others)}) == 8


def test_later_settings_win():
    figure = DESCRIBED["figures"]["one"] | {
        "settings": {"rounds": 3}, "quick": {"rounds": 4},
        "variants": {"": {}, "long": {"rounds": 9}}, "without": [["mean", "flip"]],
    }  # fmt: skip
    cells = list(experiment(figures={"one": figure}).cells("quick"))
    assert {(cell.variant, cell.config.rounds) for cell in cells} == {("", 4), ("long", 9)}
    assert ("mean", "flip") not in {(cell.rule, cell.attack) for cell in cells}
    assert len(cells) == 6


def test_a_figure_may_have_seeds_of_its_own():
    profiles = {name: {"note": "Small.", "seeds": [0, 1]} for name in ("quick", "paper")}
    own = DESCRIBED["figures"]["one"] | {"seeds": {"quick": [7]}}
    figures = {"one": own, "two": DESCRIBED["figures"]["one"]}
    seeded = experiment(profiles=profiles, figures=figures)
    for profile, expected in (("quick", [7]), ("paper", [0, 1])):
        seeds = {(cell.figure, cell.seed) for cell in seeded.cells(profile)}
        assert seeds == {*(("one", s) for s in expected), ("two", 0), ("two", 1)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"figures": {"one": DESCRIBED["figures"]["one"] | {"seeds": {"paper": [0]}}}},
            r"`seeds` of the figure `one` should be for one of the profiles quick. Found \['paper'\]",
        ),
        (
            {"figures": {"one": DESCRIBED["figures"]["one"] | {"seeds": {"quick": []}}}},
            "at least 1",
        ),
        ({"group": "mine"}, "'papers' or 'study'"),
        ({"views": ["worst"]}, "'worst_case', 'wrong_f', 'fairness' or 'holdings'"),
        (
            {"figures": {"one": {"title": "", "rules": ["krum"], "attacks": ["flip"]}}},
            r"`rules` of the figure `one` should be made of mean, median. Found \['krum'\]",
        ),
        (
            {"figures": {"one": {"title": "", "rules": ["mean"], "attacks": ["lie"]}}},
            r"`attacks` of the figure `one` .* Found \['lie'\]. Describe them under `attacks`.",
        ),
        ({"profiles": {"quick": {"note": "", "seeds": []}}}, "at least 1 item"),
        ({"colour": "red"}, "not permitted"),
        (
            {"figures": {"one": DESCRIBED["figures"]["one"] | {"without": [["mean", "flop"]]}}},
            r"`without` of the figure `one` .* Found \[\['mean', 'flop'\]\]",
        ),
        ({"settings": {"seed": 1}}, r"Found \['seed'\] among the settings"),
        ({"rules": DESCRIBED["rules"] | {"mean": {"data_dir": "x"}}}, r"Found \['data_dir'\]"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        experiment(**changes)


def test_rules_that_do_not_exist_are_refused_before_anything_runs():
    unknown = experiment(rules={"mean": {"rule": "mean"}, "median": {"rule": "medium"}})
    with pytest.raises(ValueError, match="`rule` should be one of fedavg, mean"):
        list(unknown.cells("quick"))


@pytest.fixture
def ran(monkeypatch):
    """Replace the federations of a sweep, and return the configurations that it asks for."""
    asked = []

    def fake(configs, on_round, on_cell, **options):
        for place, config in enumerate(configs):
            asked.append(config)
            if config.rule == "krum":
                on_cell(place, RuntimeError("nothing in [/data/x]"))
                continue
            on_round(place, {})
            on_cell(place, outcome(config))

    def here(dealt, work, at_once, on_news, **options):
        for batch in dealt:
            run_here(batch, work, on_news)

    monkeypatch.setattr(sweeping, "run_in_processes", here)
    monkeypatch.setattr(sweeping, "run_all", fake)
    threads = torch.get_num_threads()
    yield asked
    torch.set_num_threads(threads)


def outcome(config):
    """The result of a run of one round."""
    seen = {
        "round": 1,
        "accuracy": 0.5,
        "top3": 0.75,
        "loss": float("nan"),
        "aggregate_seconds": 0.1,
    }
    final = {"final_accuracy": 0.5, "final_top3": 0.75, "final_loss": float("nan")}
    told = {
        "seconds_per_round": 1.0,
        "parameters_sha256": "0",
        "versions": {},
        "client_accuracies": [],
    }
    return {"config": config.model_dump(), "rounds": [seen], **final, **told}


def cell(rule, seed=0, experiment="small", **settings):
    config = RunConfig(rule=rule, seed=seed, rounds=1, **settings)
    return Cell(experiment, "one", rule, "no attack", "", seed, config)


def quiet():
    return Console(quiet=True)


def files(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_a_finished_cell_is_never_run_again(ran, tmp_path):
    cells = [cell("mean"), cell("median")]
    first = sweep(cells[:1], tmp_path, 2, quiet())
    assert (first.finished, first.failed) == (cells[:1], [])
    second = sweep(cells, tmp_path, 2, quiet())
    assert second.finished == cells[1:]
    assert sweep(cells, tmp_path, 2, quiet()).finished == []
    assert [config.rule for config in ran] == ["mean", "median"]
    changed = cell("mean", batch_size=8)
    assert missing_cells([*cells, changed], tmp_path) == [changed]


def test_a_result_is_valid_json_without_a_place_on_this_machine(ran, tmp_path):
    own = cell("mean", data_dir="here")
    sweep([own], tmp_path, 1, quiet())
    path = cell_path(tmp_path, own)
    assert files(tmp_path) == [path.name]
    found = json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(name))
    assert found == read_cell(tmp_path, cell("mean", data_dir="there"))
    assert (found["final_loss"], found["curves"]["accuracy"]) == (None, [0.5])
    assert "data_dir" not in found["config"]


def test_one_failing_cell_does_not_stop_the_rest(ran, tmp_path):
    cells = [cell("krum"), cell("mean"), cell("median")]
    done = sweep(cells, tmp_path, 1, quiet())
    assert done.finished == cells[1:]
    assert done.failed == [(cells[0], "RuntimeError: nothing in [/data/x]")]
    assert missing_cells(cells, tmp_path) == cells[:1]


def test_a_result_that_cannot_be_written_fails_alone(ran, monkeypatch, tmp_path):
    def full(record, path):
        if record["config"]["rule"] == "mean":
            raise OSError("no space left")
        return write(record, path)

    monkeypatch.setattr(sweeping, "write", full)
    cells = [cell("krum"), cell("mean"), cell("median")]
    done = sweep(cells, tmp_path, 1, quiet())
    assert done.finished == cells[2:]
    assert [failed for failed, _ in done.failed] == cells[:2]
    assert done.failed[1][1] == "OSError: no space left"


def test_what_a_sweep_prints_is_taken_literally(ran, tmp_path):
    console = Console(record=True, width=200, quiet=False, file=io.StringIO())
    sweep([cell("krum"), cell("mean")], tmp_path, 1, console)
    told = console.export_text()
    assert "1/2 small, one: krum, no attack, seed 0: RuntimeError: nothing in [/data/x]" in told
    assert "2/2 small, one: mean, no attack, seed 0: 50.0 %" in told


def test_a_damaged_cell_is_named(tmp_path):
    own = cell("mean")
    cell_path(tmp_path, own).parent.mkdir()
    cell_path(tmp_path, own).write_text("{")
    with pytest.raises(ValueError, match=f"{own.key}.json, which is not. Delete the file"):
        read_cell(tmp_path, own)


def test_packed_cells_are_read_and_never_run_again(ran, tmp_path):
    cells = [cell("mean"), cell("median", experiment="other")]
    sweep(cells, tmp_path, 1, quiet())
    single = [read_cell(tmp_path, own) for own in cells]
    result = tmp_path / "run" / "result.json"  # another command wrote it
    write({"rounds": []}, result)
    packed, number = Kept(tmp_path).pack()
    assert (packed.name, number) == (PACKED, 2)
    assert files(tmp_path) == sorted([PACKED, "result.json"])
    assert [read_cell(tmp_path, own) for own in cells] == single
    assert [read_cell(packed, own) for own in cells] == single
    assert missing_cells(cells, tmp_path) == []
    more = cell("phocas")
    assert sweep([*cells, more], tmp_path, 1, quiet()).finished == [more]
    assert read_cell(tmp_path, more) is not None
    assert Kept(tmp_path).pack()[1] == 3
    assert missing_cells([*cells, more], tmp_path) == []


def test_the_same_cells_give_the_same_packed_bytes(tmp_path):
    folders = [tmp_path / name for name in "ab"]
    for folder, order in zip(folders, (1, -1), strict=True):
        for own in [cell("mean"), cell("median"), cell("mean", seed=1)][::order]:
            write({"seed": own.seed, "rule": own.rule}, cell_path(folder, own))
    first, second = (Kept(folder).pack()[0].read_bytes() for folder in folders)
    assert first == second
    assert Kept(folders[0]).pack()[0].read_bytes() == first


def test_a_cell_of_its_own_wins_over_a_packed_one(tmp_path):
    own = cell("mean")
    for number in (1, 2):
        write({"number": number}, cell_path(tmp_path, own))
        assert read_cell(tmp_path, own) == {"number": number}
        Kept(tmp_path).pack()
        assert read_cell(tmp_path, own) == {"number": number}


def test_a_damaged_packed_file_is_named(tmp_path):
    write({}, cell_path(tmp_path, cell("mean")))
    packed, _ = Kept(tmp_path).pack()
    packed.write_bytes(packed.read_bytes()[:-9])
    with pytest.raises(ValueError, match=f"{PACKED}, which is damaged"):
        read_cell(tmp_path, cell("mean"))
    refused = CliRunner().invoke(app, ["pack", str(tmp_path)])
    assert (refused.exit_code, "is damaged" in " ".join(refused.output.split())) == (1, True)
    assert CliRunner().invoke(app, ["pack", str(tmp_path / "nowhere")]).exit_code == 1


def test_missing_datasets_are_downloaded_once_before_the_jobs(ran, monkeypatch, tmp_path):
    fetched = []
    monkeypatch.setattr(sweeping.datasets, "prepare", lambda *args, download: fetched.append(args))
    cells = [cell("mean", dataset="mnist", download=True, seed=seed) for seed in (0, 1)]
    sweep([*cells, cell("mean")], tmp_path, 2, quiet())
    assert fetched == [("mnist", "data")]


def test_memory_that_is_left(tmp_path):
    assert available_memory(tmp_path / "none", tmp_path) is None
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 9 kB\nMemAvailable:    8 kB\n")
    assert available_memory(meminfo, tmp_path) == 8 * 1024
    (tmp_path / "memory.max").write_text("max\n")
    assert available_memory(meminfo, tmp_path) == 8 * 1024
    (tmp_path / "memory.max").write_text("5000\n")
    (tmp_path / "memory.current").write_text("1000\n")
    assert available_memory(meminfo, tmp_path) == 4000


def test_a_round_without_reputations_is_a_gap():
    rounds = [
        {"round": 1, "accuracy": 0.5, "top3": 0.5, "loss": 1.0, "reputations": [1.0], "aggregate_seconds": 0},
        {"round": 2, "accuracy": 0.5, "top3": 0.5, "loss": 1.0, "skipped": 1, "aggregate_seconds": 0},
    ]  # fmt: skip
    result = outcome(RunConfig(rounds=2)) | {"rounds": rounds}
    assert summarise(result, ())["curves"]["reputations"] == [[1.0], None]


def swept(*arguments):
    return CliRunner().invoke(app, ["sweep", *map(str, arguments)])


def test_the_command_runs_a_figure_and_says_what_was_there(ran, tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(MINE)
    done = swept(file, "--out", tmp_path / "cells")
    assert (done.exit_code, len(ran)) == (0, 2)
    assert "2 cells: 0 done before, 2 run, 0 failed" in " ".join(done.output.split())
    again = swept(file, "--figure", "one", "--out", tmp_path / "cells")
    assert "2 cells: 2 done before, 0 run, 0 failed" in " ".join(again.output.split())
    for arguments, told in (
        ([file, "--figure", "two"], "There is no figure two. Give one of one."),
        ([file, "--profile", "paper"], "should be one of quick"),
        ([tmp_path], "There is no experiment"),
        (["nowhere"], "There is no experiment nowhere"),
    ):
        refused = swept(*arguments)
        assert refused.exit_code == 1
        assert told in " ".join(refused.output.split())
    assert swept(file, "--jobs", -1).exit_code == 2
    report = CliRunner().invoke(
        app, ["report", str(tmp_path / "cells"), str(file), "--out", str(tmp_path / "out")]
    )
    assert report.exit_code == 0
    readme = (tmp_path / "out" / "README.md").read_text()
    assert "50.0 [50.0, 50.0]" in readme
    assert "Scoreboard" not in readme
    assert CliRunner().invoke(app, ["pack", str(tmp_path / "cells")]).exit_code == 0
    packed = tmp_path / "cells" / PACKED
    report = CliRunner().invoke(
        app, ["report", str(packed), str(file), "--out", str(tmp_path / "new")]
    )
    assert report.exit_code == 0
    assert (tmp_path / "new" / "README.md").read_text() == readme


def test_without_names_the_papers_experiments_run(ran, tmp_path, monkeypatch):
    """Other experiments run if they or their group are named."""
    (tmp_path / "paper.toml").write_text(MINE)
    (tmp_path / "own.toml").write_text(MINE.replace("[0, 1]", "[2]") + 'group = "study"\n')
    for module in (experiments, checks):
        monkeypatch.setattr(module, "FOLDER", tmp_path)
        monkeypatch.setattr(module, "NAMES", ("own", "paper"))
    for arguments, seeds in (([], [0, 1]), (["own"], [2]), (["--group", "study"], [2])):
        ran.clear()
        done = swept(*arguments, "--out", tmp_path / "_".join(["cells", *arguments]))
        assert (done.exit_code, [config.seed for config in ran]) == (0, seeds)
    refused = swept("own", "--group", "papers")
    assert refused.exit_code == 1
    assert "Found own and --group papers. Leave one of them out." in " ".join(
        refused.output.split()
    )


def test_a_command_with_a_failed_cell_says_so(ran, tmp_path, monkeypatch):
    monkeypatch.setattr(sweeping, "write", lambda *_: (_ for _ in ()).throw(OSError("full")))
    file = tmp_path / "mine.toml"
    file.write_text(MINE)
    done = swept(file, "--out", tmp_path)
    assert done.exit_code == 1
    assert done.output.count("OSError: full") == 1  # once for two cells
    assert "2 failed" in " ".join(done.output.split())


def test_equal_configurations_run_once(ran, tmp_path):
    twice = [cell("mean"), cell("mean")]
    assert len(sweep(twice, tmp_path, 2, quiet()).finished) == 1


def test_what_is_half_written_is_not_there(monkeypatch, tmp_path):
    own = cell("mean")
    path = cell_path(tmp_path, own)
    write({"whole": 1}, path)
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write({"whole": 2}, path)
    assert read_cell(tmp_path, own) == {"whole": 1}
    other = cell("median")
    with pytest.raises(KeyboardInterrupt):
        write({"whole": 3}, cell_path(tmp_path, other))
    assert read_cell(tmp_path, other) is None
    assert files(tmp_path) == [path.name]
    assert missing_cells([own, other], tmp_path) == [other]


def test_a_batch_has_federations_of_one_size_and_dataset():
    cells = [cell("mean", seed, clients=clients) for seed in range(20) for clients in (5, 6)]
    dealt = batches(cells, jobs=2)
    assert sorted((c.seed, c.config.clients) for batch in dealt for c in batch) == sorted(
        (c.seed, c.config.clients) for c in cells
    )
    assert all(len({c.config.clients for c in batch}) == 1 for batch in dealt)
    assert max(map(len, dealt)) <= MOST


def shrunk(own):
    """A cell of an experiment with two rounds on the digits, which every machine has."""
    cells = list(own.cells("quick"))
    found = ([c for c in cells if c.config.attack != "none"] or cells)[-1]
    settings = found.config.model_dump(exclude={"model"}) | {
        "dataset": "digits", "rounds": 2, "attack_start": 2, "eval_every": 1, "batch_size": 8,
        "test_samples": 0, "gradient_samples": 50, "momentum": 0.0,
    }  # fmt: skip
    place = found.experiment, found.figure, found.rule, found.attack, found.variant, found.seed
    return Cell(*place, RunConfig(**settings))


@pytest.mark.slow
@pytest.mark.ray
def test_one_cell_of_each_experiment_runs(tmp_path):
    cells = [shrunk(own) for own in all_experiments()]
    done = sweep(cells, tmp_path, 2, quiet())
    assert done.failed == []
    assert len(done.finished) == len(missing_cells(cells, tmp_path / "empty"))
    for own in cells:
        found = read_cell(tmp_path, own)
        assert found["curves"]["round"] == [1, 2]
        assert len(found["curves"]["cosine"]) == 2
        assert set(found["rejected"]) == {"byzantine", "honest"}
        assert ("reputations" in found["curves"]) == own.rule.startswith("bygars")
