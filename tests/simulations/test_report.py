"""The report and the scoreboard, from cell files with known numbers."""

import copy
import html
import itertools
import math
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest
from experiments import all_experiments, of_group
from PIL import Image as PILImage
from typer.testing import CliRunner

import flwr_byzantine
from flwr_byzantine.lab.kept import write
from simulations.catalog.rules import RULES
from simulations.commands.cli import app
from simulations.config import RunConfig
from simulations.measure.measures import MEASURES, Metric
from simulations.report import drawings
from simulations.report.blocks import (
    CLASSES,
    Fold,
    Heading,
    Image,
    Table,
    Text,
    Verdict,
    render_html,
    render_markdown,
)
from simulations.report.board import scoreboard_blocks, tally
from simulations.report.claim import Claim, load_claims, read_claims
from simulations.report.document import write_report
from simulations.report.drawings import Drawing, save
from simulations.report.figures import draw_curves
from simulations.report.heatmaps import draw_accuracy_map, draw_rejections
from simulations.report.looks import RED, rule_look
from simulations.report.reputations import draw_scores, looks_of
from simulations.report.scoreboard import judge
from simulations.report.tables import accuracy_table
from simulations.report.view import BENCHMARK, Place, Results, form
from simulations.sweep.cells import cell_path
from simulations.sweep.experiment import FOLDER, PLACES, Experiment, load_experiment

pytestmark = pytest.mark.torch

KINDS = (".png", ".svg")
ACCURACY = Metric("accuracy")
PHOCAS = load_experiment(FOLDER / "phocas_mnist.toml")
BYGARS = load_experiment(FOLDER / "bygars_mnist.toml")
FIGURE = ("phocas_mnist", "figure 2")
SEEDS = PHOCAS.profiles["quick"].seeds


def record(config, accuracy, **curves):
    """A run that reaches an accuracy half-way, and stays there."""
    rounds = [config.rounds // 2, config.rounds]
    curves = {"round": rounds, "accuracy": [accuracy] * 2, "top3": [accuracy] * 2} | curves
    return {
        "config": config.model_dump(exclude=set(PLACES)),
        "final_accuracy": accuracy,
        "final_top3": accuracy,
        "curves": curves,
        "rejected": {"byzantine": 0.5 if config.byzantine else None, "honest": 0.25},
        "skipped": 0,
    }


def accuracy_of(cell):
    """Mean breaks under every attack, Phocas loses a point, and everything else is well."""
    if cell.rule == "mean" and cell.attack != "no attack":
        return 0.1
    return (0.89 if cell.rule == "phocas" else 0.9) + 0.02 * (cell.seed - SEEDS[0])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """All cells of an experiment except the second seed of Krum, and Multi-Krum under Gaussian vectors."""
    path = tmp_path_factory.mktemp("cells")
    for cell in PHOCAS.cells("quick"):
        left_out = cell.rule == "multi-krum" or (cell.rule == "krum" and cell.seed == SEEDS[1])
        if cell.attack == "gaussian, 6 of 20" and left_out:
            continue
        gone = cell.rule == "mean" and cell.attack != "no attack"
        cosine = [0.5, None] if gone else [0.5, 0.7]
        found = record(cell.config, accuracy_of(cell), cosine=cosine, loss=[None, None])
        write(found, cell_path(path, cell))
    return path


@pytest.fixture(scope="module")
def results(folder):
    return Results([PHOCAS, BYGARS], "quick", folder)


def claim(**changes):
    """A claim that compares Gaussian vectors with averaging without attack."""
    standard = {
        "paper": "A paper", "where": "1", "says": "It is so.", "measure": "learned",
        "experiment": FIGURE[0], "figure": FIGURE[1], "rules": ["mean"],
        "attacks": ["gaussian, 6 of 20"], "against": {"rule": "mean", "attack": "no attack"},
    }  # fmt: skip
    return Claim(**standard | changes)


def verdict(results, **changes):
    (judged,) = judge([claim(**changes)], results)
    return judged.verdict, judged.numbers


def test_a_table_has_mean_and_interval_and_says_what_was_not_run(results):
    table = accuracy_table(results, *FIGURE)
    assert list(table.head[1:]) == ["mean", "Krum", "Multi-Krum", "trimmed mean", "Phocas"]
    rows = {row[0]: row[1:] for row in table.rows}
    well, phocas = "91.0 [90.0, 92.0]", "90.0 [89.0, 91.0]"
    assert rows["no attack"] == [*[well] * 4, phocas]
    gaussian = ["10.0 [10.0, 10.0]", "90.0 (1 of 2 seeds)", "not run", well, phocas]
    assert rows["Gaussian, 6 of 20"] == gaussian


def test_pairs_without_sense_are_empty_in_a_table(results):
    table = accuracy_table(results, "bygars_mnist", "figure 2")
    (row,) = (row for row in table.rows if row[0] == "sign flip, 8 of 8")
    assert row[1:] == ["not run", "not run", "", "not run", "not run", "", ""]


def test_claims_hold_fail_or_were_not_run(results):
    assert verdict(results, below=0.5) == ("holds", "mean, Gaussian, 6 of 20: 0.00 [0.00, 0.00]")
    assert verdict(results, at_least=0.8)[0] == "does not hold"
    assert verdict(results, rules=["multi-krum"], at_least=0.8) == ("not run", "")
    phocas = verdict(results, rules=["phocas"], measure="behind", at_most=3)
    assert phocas == ("holds", "Phocas, Gaussian, 6 of 20: +1.0 [+1.0, +1.0]")
    by_one = ("holds", "Krum, Gaussian, 6 of 20: 1.00 (1 of 2 seeds)")
    assert verdict(results, rules=["krum"], at_least=0.99) == by_one


def test_one_failure_decides_a_claim_and_one_success_a_choice(results):
    rules = ["mean", "multi-krum"]
    assert verdict(results, rules=rules, at_least=0.8) == (
        "does not hold",
        "mean, Gaussian, 6 of 20: 0.00 [0.00, 0.00]; Multi-Krum, Gaussian, 6 of 20: not run",
    )
    assert verdict(results, rules=rules, below=0.5)[0] == "not run"
    assert verdict(results, rules=rules, below=0.5, some=True)[0] == "holds"
    assert verdict(results, rules=rules, at_least=0.8, some=True)[0] == "not run"
    assert verdict(results, rules=["mean", "phocas"], above=2, some=True)[0] == "does not hold"


def test_falling_measurements(results):
    ordered = {"measure": "behind", "attacks": ["no attack"], "falling": True}
    assert verdict(results, rules=["phocas", "mean"], **ordered)[0] == "holds"
    assert verdict(results, rules=["mean", "phocas"], **ordered)[0] == "does not hold"


def test_a_measurement_that_is_not_a_number_is_none(results):
    results = copy.deepcopy(results)
    alone = {"measure": "alignment", "against": None}
    assert verdict(results, above=0, **alone)[1] == "mean, Gaussian, 6 of 20: +0.50 [+0.50, +0.50]"
    for run in results.cells[Place(*FIGURE, "mean", "gaussian, 6 of 20")].values():
        run["curves"]["cosine"] = [None, None]
    assert verdict(results, above=0, **alone) == ("not run", "")
    assert verdict(results, below=0, **alone) == ("not run", "")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"measure": "speeed", "below": 1}, "`measure` should be one of learned"),
        ({}, "Say what decides the claim `It is so.`"),
        ({"below": 1, "colour": "red"}, "not permitted"),
        ({"below": 1, "rules": []}, "at least 1 item"),
        ({"below": 1, "cause": "scale"}, "both `cause` and `why` of the claim `It is so.`"),
        ({"below": 1, "why": "Who knows."}, "both `cause` and `why`"),
        ({"below": 1, "cause": "luck", "why": "Who knows."}, "'scale', 'seed noise', 'bound'"),
        (
            {"below": 1, "no_test": "No.", "cause": "ours", "why": "Who knows."},
            "is no test, so nothing refutes it",
        ),
    ],
)
def test_a_claim_that_decides_nothing_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        claim(**changes)


def test_a_claim_that_is_no_test_counts_neither_way(results):
    """Its reason is shown beside it, whatever the result is."""
    untested = claim(at_least=0.8, no_test="Averaging survives this.")
    refuted = claim(at_least=0.8, cause="bound", why="The paper names none.")
    judged = judge([untested, refuted, claim(below=0.5)], results)
    assert [one.verdict for one in judged] == ["no test", "does not hold", "holds"]
    whys = ["Averaging survives this.", "bound: The paper names none.", ""]
    assert [one.why for one in judged] == whys
    assert tally(judged) == "3 claims: 1 hold, 1 do not hold, 1 no test, 0 not run."
    (fold,) = (block for block in scoreboard_blocks(judged, results) if isinstance(block, Fold))
    assert [verdict.text for verdict in fold.verdicts] == ["1 hold", "1 do not hold", "1 no test"]
    (table,) = fold.blocks
    assert [row[4] for row in table.rows] == whys
    assert judge([claim(below=0.5, cause="ours", why="By luck.")], results)[0].why == ""


def test_each_attack_of_a_claim_may_have_its_own_cause(tmp_path):
    file = tmp_path / "claims.toml"
    file.write_text(
        """
        [common]
        paper = "A paper"
        experiment = "phocas_mnist"
        figure = "figure 2"
        [[claims]]
        where = "1"
        says = "It survives {attack}."
        each = true
        measure = "learned"
        rules = ["mean"]
        attacks = ["gambler", "bit flip"]
        cause = { gambler = "scale" }
        why = { gambler = "There are few rounds." }
        no_test = { "bit flip" = "It cannot fail." }
        at_least = 0.8
        """.replace("        ", "")
    )
    first, second = read_claims(file)
    assert (first.cause, first.why, first.no_test) == ("scale", "There are few rounds.", "")
    assert (second.cause, second.why, second.no_test) == ("", "", "It cannot fail.")


def test_other_papers_claims_are_left_out(tmp_path):
    """This includes claims about the cost of their rules, which no experiment measures."""
    judged = judge(load_claims(), Results([PHOCAS], "quick", tmp_path))
    (paper,) = {one.claim.paper for one in judged}
    assert paper.startswith("Phocas")
    assert BENCHMARK in {one.claim.experiment for one in judged}
    own = Experiment(**PHOCAS.model_dump() | {"name": "mine"})
    assert judge(load_claims(), Results([own], "quick", tmp_path)) == []


@pytest.mark.parametrize("profile", ["quick", "paper"])
def test_every_claim_is_about_something_that_the_experiments_have(profile, tmp_path):
    claims = load_claims()
    judged = judge(claims, Results(all_experiments(), profile, tmp_path))
    verdicts = {"no test" if one.claim.no_test else "not run" for one in judged}
    assert {one.verdict for one in judged} == verdicts
    assert len(judged) == len(claims) >= 30
    assert len({(c.paper, c.where, c.says) for c in claims}) == len(claims)
    papers = {BENCHMARK, *(own.name for own in of_group("papers"))}
    assert len({c.paper for c in claims if c.experiment in papers}) == 4
    costs = {rule for c in claims if c.experiment == BENCHMARK for rule in c.rules}
    assert costs <= {*flwr_byzantine.__all__, *RULES}


@pytest.mark.parametrize(
    "typo",
    [
        {"experiment": "phocas_mnits"}, {"figure": "figure 9"}, {"rules": ["krumm"]},
        {"attacks": ["gaussian"]}, {"variants": ["b = 3"]}, {"against": {"rule": "average"}},
        {"experiment": BENCHMARK, "figure": "speed"},
    ],
)  # fmt: skip
def test_a_typo_in_a_claim_is_an_error(typo, results):
    with pytest.raises(LookupError, match="claim"):
        verdict(results, below=1, **typo)


def test_claims_about_cost_read_the_benchmark(tmp_path):
    rows = [
        {"name": name, "n": n, "seconds": seconds}
        for name, n, seconds in (("Mean", 20, 1), ("Phocas", 20, 2), ("Phocas", 100, 8))
    ]
    growth = [{"name": "Phocas", "n": 8, "growth": 13.0}]
    path = write({"clients": rows, "scaling": growth}, tmp_path / "bench.json")
    results = Results([PHOCAS], "quick", tmp_path, path)
    cost = {"experiment": BENCHMARK, "figure": "clients", "rules": ["Phocas"], "attacks": [""]}
    times = cost | {"measure": "times", "variants": ["n = 20"], "against": {"rule": "Mean"}}
    assert verdict(results, at_most=2, **times) == ("holds", "Phocas, n = 20: 2.00")
    larger = times | {"variants": ["n = 100"], "against": {"variant": "n = 20"}}
    assert verdict(results, at_most=3, **larger)[0] == "does not hold"
    grown = cost | {"figure": "scaling", "measure": "growth", "against": None}
    assert verdict(results, at_most=12, **grown) == ("does not hold", "Phocas: 13.0")
    assert verdict(results, at_most=1, **times | {"figure": "strategies"})[0] == "not run"


def curve(accuracies, start=1, rounds=(10, 20), **config):
    return {
        "config": {"rounds": rounds[-1], "attack_start": start} | config,
        "curves": {"round": list(rounds), "accuracy": list(accuracies)},
    }


def step(before, after, start=1):
    """One accuracy in the rounds before the last three of twenty, and another one in these."""
    return curve([before, before, after, after], start, rounds=(1, 17, 18, 20))


@pytest.mark.parametrize(
    ("measure", "run", "other", "value"),
    [
        ("learned", step(0.1, 0.5), step(0.5, 0.9), 0.5),
        ("learned", curve([0.5], rounds=(10,)), step(0.5, 0.9), 1),  # in the same round
        ("learned", step(0.5, 0.5), step(0.1, 0.1), math.nan),
        ("behind", step(0.9, 0.7), step(0.5, 0.9), 20),
        ("best_behind", curve([0.9, 0.7]), curve([0.5, 0.8]), -10),
        ("slower", curve([0.2, 0.3]), curve([0.2, 0.3]), 0),
        ("progress", step(0.6, 0.4, start=11), None, -20),
        ("progress", step(0.6, 0.4), None, 30),  # the accuracy of guessing, before the first round
        ("excess", step(0.4, 0.45, start=11), step(0.4, 0.6), -5),
        ("speed", curve([0.37, 0.64]), curve([0.37, 0.64]), 1),
        ("speed", curve([0.1, 0.5]), curve([0.55, 0.6]), 0),  # 90 % of the gain is never reached
    ],
)
def test_measures(measure, run, other, value):
    found = MEASURES[measure].function(run, other or run, ACCURACY)
    assert found == pytest.approx(value, nan_ok=True)


def test_speed_is_a_ratio_of_rounds():
    slow = curve([0.5, 0.9], rounds=(100, 200))
    fast = curve([0.5, 0.9], rounds=(50, 100))
    assert MEASURES["speed"].function(slow, fast, ACCURACY) == pytest.approx(0.5)


def bygars_run(cell, scores):
    return record(cell.config, 0.9, reputations=[[None] * 8, scores])


def test_signs_and_figures_of_reputations(tmp_path):
    (cell, *_) = (
        c for c in BYGARS.cells("quick") if (c.rule, c.attack) == ("bygars++", "sign flip, 3 of 8")
    )
    signs = MEASURES["signs"].function
    good = bygars_run(cell, [-1.0] * 3 + [1.0] * 5)
    assert signs(good, good, ACCURACY) == 1
    half = bygars_run(cell, [1.0] * 3 + [1.0] * 4 + [None])
    assert signs(half, half, ACCURACY) == 0.5
    assert math.isnan(signs(bygars_run(cell, [1.0]), half, ACCURACY))  # not everybody replied
    write(good, cell_path(tmp_path, cell))
    results = Results([BYGARS], "quick", tmp_path)
    drawn = draw_scores(results, "bygars_mnist", "table 1", "bygars++")
    assert save(Drawing("scores", "Scores", drawn), tmp_path / "new" / "scores") == "scores.svg"
    assert draw_scores(results, "bygars_mnist", "table 1", "bygars") is None


def test_readers_see_which_form_of_bygars_it_is(results):
    """Tables name it, and so does the value that a claim measures."""
    head = accuracy_table(results, "bygars_mnist", "figure 2").head
    assert list(head[4:6]) == ["ByGARS (normalised)", "ByGARS++ (normalised)"]
    place = Place("bygars_mnist", "figure 2", "bygars++", "lie, 3 of 8")
    assert results.described(place) == "ByGARS++ (normalised), LIE, 3 of 8"
    assert form(RunConfig(rule="bygars", rule_args="normalize=false")) == " (to the letter)"
    assert form(RunConfig(rule="krum")) == ""


class Assets(HTMLParser):
    """Collect the files that a page refers to."""

    def __init__(self):
        super().__init__()
        self.references, self.tags = [], set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.references += [value for name, value in attrs if name in ("src", "href", "srcset")]


def test_the_report_is_one_html_file_and_a_readme_with_its_figures(folder, tmp_path):
    out = tmp_path / "out"
    called = CliRunner().invoke(app, ["report", str(folder), "--out", str(out)])
    assert called.exit_code == 0
    page = (out / "report.html").read_text()
    for verdict in ("holds", "does not hold", "not run"):
        assert f">{verdict}</td>" in page
    assets = Assets()
    assets.feed(page)
    assert not assets.tags & {"script", "link", "iframe"}
    assert all(ref.startswith(("#", "data:image/png;base64,")) for ref in assets.references)
    assert page.count("</svg>") == len([*out.glob("*.svg")])
    assert [*out.glob("*.png")] == []
    ids = re.findall(r' id="(.+?)"', page)
    assert len(ids) == len({*ids})
    assert len(page) < 5_000_000
    readme = (out / "README.md").read_text()
    images = re.findall(r"!\[.*\]\((.+)\)", readme)
    assert sorted(images) == sorted(path.name for path in out.iterdir() if path.suffix in KINDS)
    drawn = sum(ref.startswith("data:") for ref in assets.references)
    assert drawn + page.count("</svg>") == len(images)
    for text in (page, readme):
        assert "91.0 [90.0, 92.0]" in text
        assert "0 of 12 cells run, 12 not run" in text
        assert PHOCAS.profiles["quick"].note in html.unescape(text)


def test_text_is_escaped(tmp_path):
    (tmp_path / "a.png").write_bytes(b"png")
    table = Table(["<b>", "a|b"], [["1 < 2", Verdict("holds", "holds")]])
    blocks = [Heading("A & B", 1), Text("<script>"), table, Image("a.png", 'say "x"')]
    page = render_html(blocks, tmp_path)
    assert "<script>" not in page
    assert "<th>&lt;b&gt;</th>" in page
    assert 'alt="say &quot;x&quot;"' in page
    assert (
        '| <b> | a\\|b |\n| --- | --- |\n| 1 < 2 | <span class="verdict-holds">holds</span> |'
        in render_markdown(blocks)
    )


def test_a_folder_that_is_not_there(tmp_path):
    called = CliRunner().invoke(app, ["report", str(tmp_path / "nowhere")])
    assert called.exit_code == 1
    assert "give the one that" in " ".join(called.output.split())


def test_a_report_without_any_cell(tmp_path):
    judged = write_report(Results(all_experiments(), "paper", tmp_path), tmp_path / "out")
    assert {one.verdict for one in judged if not one.claim.no_test} == {"not run"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"README.md", "report.html"}


def squares(drawn):
    """The text of each cell of a heatmap, and its class."""
    found = re.findall(r"<g><title>(.*?): .*?</title><rect class=\"(\w+)[^>]*>(.*?)</g>", drawn)
    return {name: (kind, re.search(r">([^<]*)</text>", rest)[1]) for name, kind, rest in found}


def test_a_heatmap_shows_points_lost_and_is_darker_where_more_are(results):
    drawn = draw_accuracy_map(results, *FIGURE)
    ET.fromstring(drawn)
    found = squares(drawn)
    assert found["mean, no attack"] == ("s0", "0.0")
    assert found["mean, Gaussian, 6 of 20"] == ("s7", "81.0")
    assert found["Phocas, Gaussian, 6 of 20"] == ("s0", "1.0")
    assert found["Multi-Krum, Gaussian, 6 of 20"] == ("failed", "\N{EN DASH}")
    told = (
        "Krum, Gaussian, 6 of 20: 0.0 (1 of 2 seeds); seed: 0.0; accuracy (%) 90.0 (1 of 2 seeds)"
    )
    assert told in drawn
    assert (
        "Phocas, no attack: 1.0 [1.0, 1.0]; seeds: 1.0, 1.0; accuracy (%) 90.0 [89.0, 91.0]"
        in drawn
    )
    assert "points of accuracy lost, against no defence and no attack" in drawn
    assert (
        drawn.count('class="ring r') == 1
    )  # averaging alone loses more under one attack than another


def test_pairs_without_sense_have_no_cell_in_a_heatmap(tmp_path):
    for cell in BYGARS.cells("quick"):
        write(record(cell.config, 0.5), cell_path(tmp_path, cell))
    drawn = draw_accuracy_map(Results([BYGARS], "quick", tmp_path), "bygars_mnist", "figure 2")
    assert "median, sign flip, 8 of 8" in squares(drawn)
    assert "baseline, sign flip, 8 of 8" not in squares(drawn)
    assert ">not run<" not in drawn


def test_heatmaps_of_rejected_replies_leave_out_who_is_never_rejected(results):
    drawn = draw_rejections(results, *FIGURE, "byzantine")
    found = squares(drawn)
    assert found["mean, Gaussian, 6 of 20"] == ("s5", "50")
    assert "mean, no attack" not in found
    assert squares(draw_rejections(results, *FIGURE, "honest"))["mean, no attack"] == ("s4", "25")
    assert draw_rejections(results, "bygars_mnist", "figure 2", "honest") is None


def test_figures_of_an_earlier_report_go(folder, tmp_path):
    (tmp_path / "phocas_mnist-figure-2-heatmap.png").touch()
    write_report(Results([PHOCAS], "quick", folder), tmp_path)
    assert {p.suffix for p in tmp_path.glob("phocas_mnist-figure-2-heatmap.*")} == {".svg"}


def test_a_figure_without_a_reference_has_a_heatmap_of_accuracies(results):
    """In such a figure, no run averages without an attack."""
    places = [place for place in results.places(*FIGURE) if place.attack != "no attack"]
    some = copy.copy(results)
    some._places = {FIGURE: places}
    drawn = draw_accuracy_map(some, *FIGURE)
    assert squares(drawn)["Phocas, Gaussian, 6 of 20"] == ("s0", "90")
    assert "coloured by points below the best, 91 %" in drawn


def test_averaging_is_red_and_no_other_rule_is(results):
    (drawn,) = (draw_curves(results, *FIGURE, "accuracy", "accuracy (%)", 100),)
    labels = {text.get_text(): text.get_color() for axes in drawn.axes for text in axes.texts}
    assert {name for name, colour in labels.items() if colour == RED} == {"mean"}
    assert {"Krum", "Multi-Krum", "Phocas", "trimmed mean"} <= set(labels)
    looks = [str(rule_look(number)) for number in range(210)]
    assert len({*looks}) == 210
    assert RED not in "".join(looks)
    for axes in drawn.axes[-2:]:
        assert axes.get_xlabel() == "round"
    assert drawn.axes[0].get_ylabel() == "accuracy (%)"


def test_the_names_of_lines_are_beside_their_ends_in_their_order(results):
    drawn = draw_curves(results, *FIGURE, "accuracy", "accuracy (%)", 100)
    (axes,) = (axes for axes in drawn.axes if axes.get_title(loc="left") == "Gaussian, 6 of 20")
    heights = {text.get_text(): text.get_position()[1] for text in axes.texts}
    assert min(heights, key=heights.get) == "mean"
    ordered = sorted(heights.values())
    assert min(b - a for a, b in itertools.pairwise(ordered)) > 0.1  # no two are at the same place


def test_curves_are_small_svgs_that_are_the_same_for_the_same_cells(results, tmp_path):
    def written():
        drawn = draw_curves(results, *FIGURE, "accuracy", "accuracy (%)", 100)
        name = save(Drawing("accuracy", "Accuracy & rounds", drawn), tmp_path / "accuracy")
        assert name == "accuracy.svg"
        return (tmp_path / name).read_text()

    first = written()
    assert first == written()
    root = ET.fromstring(first)
    assert (root.get("role"), root.get("width")) == ("img", "701")
    assert root.find("{*}title").text == "Accuracy & rounds"
    assert len(first) < 60_000
    assert "sans-serif" in first
    for never in ("DejaVu", "<metadata", "<style", "dc:date", "xlink"):
        assert never not in first
    assert ">Multi-Krum</text>" in first
    referred = {*re.findall(r"url\(#(\w+)\)", first), *re.findall(r'href="#(\w+)"', first)}
    assert referred <= {*re.findall(r' id="(\w+)"', first)}


def test_a_large_picture_is_a_png_with_all_colours_in_place_of_an_earlier_svg(
    results, tmp_path, monkeypatch
):
    monkeypatch.setattr(drawings, "LARGEST", 1000)
    (tmp_path / "accuracy.svg").touch()
    drawn = draw_curves(results, *FIGURE, "accuracy", "accuracy (%)", 100)
    assert save(Drawing("accuracy", "Accuracy", drawn), tmp_path / "accuracy") == "accuracy.png"
    assert [path.name for path in tmp_path.iterdir()] == ["accuracy.png"]
    with PILImage.open(tmp_path / "accuracy.png") as image:
        assert image.mode in ("RGB", "RGBA")
        assert image.width == pytest.approx(2 * 701, abs=2)


def test_the_report_begins_with_what_became_of_the_claims_folded_by_paper(folder, tmp_path):
    write_report(Results([PHOCAS, BYGARS], "quick", folder), tmp_path)
    readme, page = ((tmp_path / name).read_text() for name in ("README.md", "report.html"))
    first, picture, *_ = readme.split("\n\n")
    assert first.startswith("# ")
    assert picture.startswith("![")
    assert picture.endswith("(scoreboard.svg)")
    folds = re.findall(
        r'(?s)<details markdown="1">\n<summary>(.*?)</summary>\n\n(.*?)</details>', readme
    )
    assert len(folds) == 2
    for summary, inside in folds:
        assert re.search(
            r'<span class="verdict-[\w-]+">\d+ (hold|do not hold|no test|not run)</span>', summary
        )
        assert inside.startswith("| # |")
        assert inside.endswith("|\n\n")
    assert page.count("<details>") == page.count("</details>") == 2
    assert page.index("<svg") < page.index("Scoreboard</h2>")
    assert '<td class="verdict-fails">does not hold</td>' in page
    for name in CLASSES.values():
        assert f".{name}" in page
    drawn = (tmp_path / "scoreboard.svg").read_text()
    assert ">does not hold</text>" in drawn


def test_the_study_begins_with_its_worst_case_and_shows_who_has_what(tmp_path):
    whole = load_experiment(FOLDER / "break_even.toml").model_dump()
    leads = whole["figures"][whole["leads"]]
    assert leads["views"] == ["worst_case", "holdings", "fairness"]
    changes = {"rules": ["mean", "krum"], "seeds": {"quick": [0]}, "views": leads["views"][:2]}
    figures = {"figures": {whole["leads"]: leads | changes}, "name": "mine"}
    own = Experiment(**whole | figures)
    for cell in own.cells("quick"):
        accuracy = 0.9 if cell.rule == "mean" else 0.8
        write(record(cell.config, accuracy), cell_path(tmp_path, cell))
    out = tmp_path / "out"
    write_report(Results([own], "quick", tmp_path), out)
    readme = (out / "README.md").read_text()
    main = "mine-data-that-differ-worst-case.svg"
    assert readme.split("\n\n")[1].endswith(f"({main})")
    assert readme.count(main) == 1
    assert not (out / "scoreboard.svg").exists()
    (drawn,) = out.glob("*who-has-what.svg")
    titles = re.findall(r'font-weight="700">(.*?)</text>', drawn.read_text())
    alphas = [f"alpha = {alpha} (Dirichlet)" for alpha in ("1", "0.3", "0.1")]
    assert titles == ["alpha = inf (iid)", *alphas]
    assert "Byzantine clients (0 to 3)" in drawn.read_text()
    ids = re.findall(r' id="(.+?)"', (out / "report.html").read_text())
    assert len(ids) == len({*ids})


def test_many_measurements_of_a_claim_are_told_as_their_range(results):
    attacks = [place.attack for place in results.places(*FIGURE) if place.rule == "mean"]
    many = claim(rules=["mean", "phocas", "trimmed mean"], attacks=attacks, below=0.5)
    (fold,) = (b for b in scoreboard_blocks(judge([many], results), results) if isinstance(b, Fold))
    (row,) = fold.blocks[0].rows
    assert row[5].startswith(f"{3 * len(attacks)} measurements, from mean, Gaussian, 6 of 20: 0.00")


def test_a_figure_that_leads_is_one_of_the_experiment():
    with pytest.raises(ValueError, match="`leads` should be one of the figures figure 2"):
        Experiment(**PHOCAS.model_dump() | {"leads": "figure 9"})


def test_clients_that_attack_never_look_like_the_benign():
    looks = looks_of(["benign", *(f"Kind{number}()" for number in range(15))])
    benign = looks.pop("benign")
    assert benign["color"] not in {look["color"] for look in looks.values()}
    assert len({(look["color"], str(look["linestyle"])) for look in looks.values()}) == 15
    assert RED not in {look["color"] for look in looks.values()}
