"""The pictures for decisions: the worst case, a wrong f, and what single clients get."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from flwr_byzantine.lab.kept import write
from flwr_byzantine.lab.page import colours
from simulations.report.blocks import Table
from simulations.report.document import write_report
from simulations.report.drawings import Drawing
from simulations.report.fairness import least_used
from simulations.report.pool import Pool
from simulations.report.seeds import interval, shown
from simulations.report.view import Results
from simulations.report.views import view_blocks
from simulations.report.worst_case import chance
from simulations.report.wrong_f import lines
from simulations.sweep.cells import cell_path
from simulations.sweep.experiment import Experiment

pytestmark = pytest.mark.torch

STUDY = Experiment(
    name="own",
    title="Is it worth it?",
    source="a question",
    group="study",
    views=["worst_case", "wrong_f", "fairness"],
    curves=False,
    settings={"clients": 10, "rounds": 2, "assumed_byzantine": 2},
    profiles={"quick": {"note": "Small.", "seeds": [0, 1]}},
    rules={"averaging": {"rule": "mean"}, "median": {"rule": "median"}, "krum": {"rule": "krum"}},
    attacks={
        "calm": {},
        "lie": {"attack": "lie", "byzantine": 2},
        "ipm": {"attack": "ipm", "byzantine": 2},
    },
    figures={
        "alike": {
            "title": "Quiet attacks",
            "rules": ["averaging", "median", "krum"],
            "attacks": ["calm", "lie"],
            "variants": {"alpha = 1": {"partition": "dirichlet", "alpha": 1.0}},
        },
        "loud": {
            "title": "Another attack, one seed",
            "rules": ["averaging", "median"],
            "attacks": ["ipm"],
            "variants": {"alpha = 1": {"partition": "dirichlet", "alpha": 1.0}},
            "seeds": {"quick": [0]},
        },
        "wrong": {
            "title": "A wrong f",
            "rules": ["krum"],
            "attacks": ["calm", "lie"],
            "variants": {
                "alpha = 1, f = 1": {"partition": "dirichlet", "assumed_byzantine": 1},
                "alpha = 1, f = 2": {"partition": "dirichlet", "assumed_byzantine": 2},
                "alpha = 1, f = 3": {"partition": "dirichlet", "assumed_byzantine": 3},
            },
        },
    },
)  # fmt: skip
REACHED = {
    ("averaging", "calm"): 0.9, ("averaging", "lie"): 0.8, ("averaging", "ipm"): 0.6,
    ("median", "calm"): 0.86, ("median", "lie"): 0.85, ("median", "ipm"): 0.8,
    ("krum", "calm"): 0.7, ("krum", "lie"): 0.5,
}  # fmt: skip


def record(cell):
    """A run that reaches its rule's accuracy. A wrong f costs krum ten points for each client that is off."""
    wrong = 0.1 * abs(cell.config.assumed_byzantine - 2)
    reached = REACHED[cell.rule, cell.attack] - wrong + 0.02 * cell.seed
    used = [0.1] * 10 if cell.rule == "median" else [0.01, *[0.11] * 9]
    return {
        "config": cell.config.model_dump(exclude=set(cell.places)),
        "final_accuracy": reached,
        "final_worst_client": reached / 2,
        "used": used if cell.rule != "averaging" else [None] * 10,
        "curves": {"round": [2], "accuracy": [reached], "top3": [reached]},
        "rejected": {"byzantine": None, "honest": None},
        "skipped": 0,
        "parameters_sha256": f"{cell.key}",
        "seconds": 36.0,
    }


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    for cell in STUDY.cells("quick"):
        write(record(cell), cell_path(folder, cell))
    return Results([STUDY], "quick", folder)


def drawings(results, view):
    return {
        block.kind: block.drawn
        for block in view_blocks(results, "own", view)
        if isinstance(block, Drawing)
    }


def test_intervals_are_the_range_of_few_seeds_and_narrower_for_more():
    assert interval([3.0, 1.0]) == (1.0, 3.0)
    assert interval([3.0, 1.0, 2.0]) == (1.0, 3.0)
    values = [float(i) for i in range(8)]
    low, high = interval(values)
    assert 0 < low < 3.5 < high < 7
    assert low + high == pytest.approx(7)
    many = [float(i) for i in range(20)]
    assert interval(many) == interval(many)
    assert 6 < interval(many)[0] < 8 < 11 < interval(many)[1] < 13
    assert interval([0.1, 0.1, 0.1, 0.1]) == (0.1, 0.1)
    assert shown([1.0, 2.0], "{:+.2f}") == "+1.50 [+1.00, +2.00]"


def test_the_worst_attack_is_found_over_all_figures(results):
    """The reference is averaging without attack, on the same data, seed by seed."""
    pool = Pool(results, "own")
    assert (pool.plain, pool.calm, pool.attacks) == ("averaging", ["calm"], ["lie", "ipm"])
    assert pool.data == ["alpha = 1"]
    worst = pool.worst("averaging", "alpha = 1")
    assert (worst.attack, worst.values) == ("ipm", pytest.approx([30]))
    assert pool.worst("median", "alpha = 1").values == pytest.approx([10])
    assert pool.worst("krum", "alpha = 1").values == pytest.approx([40, 40])  # with f = 2
    assert pool.cost("median", "alpha = 1").values == pytest.approx([4, 4])
    assert (pool.met("median", "alpha = 1"), pool.met("krum", "alpha = 1")) == ((2, 2), (1, 1))


def test_a_figure_alone_has_its_own_worst_case(results):
    assert Pool(results, "own", "alike").worst("averaging", "alpha = 1").attack == "lie"


def test_the_picture_of_the_worst_case_names_the_attack_and_colours_by_no_defence(results):
    drawn = drawings(results, "worst_case")["worst case"]
    ET.fromstring(drawn)
    titles = re.findall(r"<g><title>(.*?)</title><rect class=\"(s\d)", drawn)
    assert [title.split(",")[0] for title, _ in titles] == [
        "median",
        "averaging (no defence)",
        "Krum",
    ]
    median, averaging, krum = titles
    assert "10.0 points lost under IPM, the worst of 2 attacks; seed: 10.0" in median[0]
    assert "4.0 [4.0, 4.0] without an attack; no defence loses 30.0 under IPM" in median[0]
    assert (median[1], averaging[1], krum[1]) == ("s0", "s4", "s6")
    assert colours.DIVERGING[0] in drawn


def test_a_worst_case_may_grow_as_long_as_attacks_are_not_run(tmp_path):
    """What was seen so far is only the least that a rule loses."""
    for cell in STUDY.cells("quick"):
        if cell.figure == "alike":
            write(record(cell), cell_path(tmp_path, cell))
    some = Results([STUDY], "quick", tmp_path)
    drawn = drawings(some, "worst_case")["worst case"]
    assert "the worst of 1 attack of 2 so far" in drawn
    assert ">\N{GREATER-THAN OR EQUAL TO} 5.0</text>" in drawn
    assert ">40</text>" in drawn  # Krum has met all attacks
    (table,) = (b for b in view_blocks(some, "own", "worst_case") if isinstance(b, Table))
    assert table.rows[0][2] == "5.0 [5.0, 5.0], LIE (1 of 2 attacks)"


def test_a_defence_is_worth_it_from_a_likelihood_on(results):
    assert chance(cost=4, worst=10, undefended=30) == pytest.approx(4 / 24)
    assert chance(cost=0, worst=10, undefended=30) == 0
    assert chance(cost=1, worst=30, undefended=30) == 1
    assert chance(cost=-1, worst=31, undefended=30) == 1
    (table,) = (b for b in view_blocks(results, "own", "worst_case") if isinstance(b, Table))
    median, krum = table.rows
    assert median == ["median", "4.0 [4.0, 4.0]", "10.0, IPM", "30.0", "> 17 %"]
    assert krum[-1] == "never"
    assert krum[3].startswith("10.0")  # LIE is the worst attack for Krum; no defence loses 10
    drawn = drawings(results, "worst_case")["break even"]
    assert "median, alpha = 1: &gt; 17 %" in drawn
    assert "averaging" not in drawn


def test_colours_of_better_and_worse_can_be_told_apart_and_read():
    steps = colours.DIVERGING
    middle = len(steps) // 2
    assert len(steps) == len(colours.BETTER_OR_WORSE) + 1
    light = [colours.luminance(colour) for colour in steps]
    assert light[: middle + 1] == sorted(light[: middle + 1])
    assert light[middle:] == sorted(light[middle:], reverse=True)
    assert min(colours.contrast(colours.on(colour), colour) for colour in steps) >= 4.5
    red_blue = [(int(c[1:3], 16), int(c[5:7], 16)) for c in steps]
    assert all(red < blue for red, blue in red_blue[:middle])
    assert all(red > blue for red, blue in red_blue[middle + 1 :])


def test_a_wrong_f_is_a_curve_for_each_rule_that_is_told_several(results):
    found = lines(results, "own", None)
    assert set(found) == {("calm, alpha = 1", None), ("LIE, alpha = 1", 2)}
    krum = found["LIE, alpha = 1", 2]["krum"]
    assert [f for f, _ in krum] == [1, 2, 3]
    assert [sum(values) / len(values) for _, values in krum] == pytest.approx([41, 51, 41])
    assert "median" not in found["LIE, alpha = 1", 2]
    assert drawings(results, "wrong_f")["wrong f"] is not None
    assert drawings(Results([STUDY], "quick", Path("nowhere")), "wrong_f") == {}


def test_fairness_shows_the_worst_off_and_the_least_used_client(results):
    config = {"rule": "krum", "clients": 4}
    run = {"config": config, "used": [0.01, 0.33, None, 0.66]}
    assert least_used(run) == pytest.approx(4)
    assert least_used(run | {"used": [None]}) is None
    drawn = drawings(results, "fairness")
    assert "Krum, alpha = 1: 10.0 [10.0, 10.0]; seeds: 10.0, 10.0" in drawn["least used"]
    assert "averaging" not in drawn["least used"]
    assert "Krum, alpha = 1: 35.5 [35.0, 36.0]" in drawn["worst client"]


def test_the_report_draws_the_views_that_an_experiment_asks_for(results, tmp_path):
    """If it wants no curves, there are none."""
    write_report(results, tmp_path)
    names = {path.stem for path in tmp_path.iterdir()}
    asked = {"worst-case", "break-even", "wrong-f", "worst-client", "least-used"}
    assert {f"own-{name}" for name in asked} <= names
    assert not [name for name in names if "accuracy" in name]
    page = (tmp_path / "report.html").read_text()
    assert "<h1" in page
    assert "This project&#x27;s own study" not in page  # it is the user's
