"""Published numbers beside ours, and the two experiments that have published numbers."""

import pytest
from pydantic import ValidationError

from flwr_byzantine.lab.kept import write
from simulations.catalog.models import model_factory
from simulations.report.blocks import Heading, Table
from simulations.report.claim import load_claims
from simulations.report.document import write_report
from simulations.report.published import HEAD, published_blocks
from simulations.report.scoreboard import judge
from simulations.report.view import Results
from simulations.sweep.cells import cell_path
from simulations.sweep.experiment import FOLDER, PLACES, Experiment, load_experiment

pytestmark = pytest.mark.torch

ANCHORS = ("byzfl_heatmaps", "bucketing_paper")
NUMBERS = {
    "figure": "one", "attacks": ["no attack", "flip"], "rules": {"mean": [90.0, [10.0, 20.0]]}
}  # fmt: skip
DESCRIBED = {
    "name": "small",
    "title": "A small experiment",
    "source": "Nowhere",
    "settings": {"clients": 5, "rounds": 6},
    "profiles": {"quick": {"note": "Small.", "seeds": [0, 1]}},
    "rules": {"mean": {"rule": "mean"}, "median": {"rule": "median"}},
    "attacks": {"no attack": {}, "flip": {"attack": "sign_flip", "byzantine": 1}},
    "figures": {"one": {"title": "One", "rules": ["mean", "median"], "attacks": ["no attack", "flip"]}},
    "published": {"source": "Somebody", "why": "Scale.", "numbers": [NUMBERS]},
}  # fmt: skip


def experiment(numbers=NUMBERS, **published):
    told = {"source": "Somebody", "why": "Scale.", "numbers": [numbers], **published}
    return Experiment(**DESCRIBED | {"published": told})


def results(own, folder, skip=()):
    """Cells that end at 80 % without an attack and at 50 % under one. The second seed has one point more."""
    for cell in own.cells("quick"):
        if cell.attack in skip:
            continue
        end = (0.5 if cell.attack == "flip" else 0.8) + 0.01 * cell.seed
        accuracies = [0.1, end + 0.1, end, end, end, end]
        curves = {"round": [1, 2, 3, 4, 5, 6], "accuracy": accuracies, "top3": accuracies}
        told = {
            "config": cell.config.model_dump(exclude=set(PLACES)),
            "curves": curves,
            "skipped": 0,
        }
        told |= {
            "final_accuracy": end,
            "final_top3": end,
            "rejected": {"byzantine": None, "honest": None},
        }
        write(told, cell_path(folder, cell))
    return Results([own], "quick", folder)


def rows(own, folder, skip=()):
    (table,) = (
        b for b in published_blocks(results(own, folder, skip), own) if isinstance(b, Table)
    )
    assert table.head == HEAD
    return [tuple(row) for row in table.rows]


def test_theirs_ours_the_difference_and_a_reason_where_it_is_large(tmp_path):
    assert rows(experiment(), tmp_path) == [
        ("one", "mean", "no attack", "90", "80.5", "-9.5", "Scale."),
        ("one", "mean", "flip", "10 to 20", "50.5", "+30.5", "Scale."),
    ]
    near = experiment(NUMBERS | {"rules": {"mean": [80.0, [50.0, 51.0]]}})
    assert [row[4:] for row in rows(near, tmp_path)] == [("80.5", "+0.5", ""), ("50.5", "+0.0", "")]
    own = experiment(NUMBERS | {"why": {"mean": "Another mean."}})
    assert rows(own, tmp_path)[0][-1] == "Another mean."


@pytest.mark.parametrize(
    ("taken", "shown"), [("last five", "82.5"), ("best", "90.5"), ("final", "80.5")]
)
def test_which_evaluations_are_taken(tmp_path, taken, shown):
    assert rows(experiment(taken=taken), tmp_path)[0][4] == shown


def test_the_worst_of_the_attacks_is_shown_where_all_have_been_run(tmp_path):
    own = experiment(NUMBERS | {"rules": {"median": [49.0]}}, worst=True)
    assert rows(own, tmp_path / "all") == [("one", "median", "", "49", "50.5", "+1.5", "")]
    assert rows(own, tmp_path / "some", skip=["flip"])[0][4:] == ("not run", "", "")


def test_the_report_has_the_table_before_the_figures(tmp_path):
    write_report(results(experiment(), tmp_path / "cells"), tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text()
    assert "| one | mean | no attack | 90 | 80.5 | -9.5 | Scale. |" in text
    assert text.index("beside what is published") < text.index("A small experiment, one")
    silent = Experiment(**{key: value for key, value in DESCRIBED.items() if key != "published"})
    assert list(published_blocks(results(silent, tmp_path / "cells"), silent)) == []


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"figure": "two"}, "of a figure: one. Found `two`"),
        ({"rules": {"krum": [1.0, 2.0]}}, r"what the figure `one` has. Found \['krum'\]"),
        ({"attacks": ["no attack", "lie"]}, r"Found \['lie'\]"),
        ({"variants": ["f = 1"]}, r"Found \['f = 1'\]"),
        ({"rules": {"mean": [1.0]}}, "should be 2 for each rule. Found another number for mean"),
    ],
)
def test_numbers_about_something_else_are_refused(numbers, message):
    with pytest.raises(ValidationError, match=message):
        experiment(NUMBERS | numbers)


@pytest.mark.parametrize("name", ANCHORS)
def test_the_anchors_stand_beside_their_published_numbers_and_claims(name, tmp_path):
    own = load_experiment(FOLDER / f"{name}.toml")
    empty = Results([own], "quick", tmp_path)
    shown = list(published_blocks(empty, own))
    assert isinstance(shown[0], Heading)
    assert len(shown[-1].rows) == {"byzfl_heatmaps": 32, "bucketing_paper": 50}[name]
    claims = [claim for claim in load_claims() if claim.experiment == name]
    judged = judge(claims, empty)
    assert len(judged) == len(claims) >= 7
    assert {one.verdict for one in judged} == {"not run"}


def test_the_anchors_networks_have_as_many_parameters_as_theirs():
    counts = {
        name: sum(p.numel() for p in model_factory(name, (1, 28, 28), 10)().parameters())
        for name in ("cnn-byzfl", "cnn-bucketing", "lenet")
    }
    assert counts == {"cnn-byzfl": 431_080, "cnn-bucketing": 1_199_882, "lenet": 61_706}


def test_a_bound_is_no_obstacle_to_what_the_papers_ran():
    for name in ANCHORS:
        for cell in load_experiment(FOLDER / f"{name}.toml").cells("paper"):
            assert cell.config.partition_among == "honest"
            assert cell.config.payload == "gradients"
