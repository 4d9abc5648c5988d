"""What claims rest on: cells and their models, averaging under the same attack, and machines."""

import re

import pytest
from typer.testing import CliRunner

from flwr_byzantine.lab.kept import write
from simulations.commands.cli import app
from simulations.report.blocks import Fold, Heading, Link, anchor, render_html, render_markdown
from simulations.report.board import cell_blocks, scoreboard_blocks
from simulations.report.claim import Claim
from simulations.report.evidence import asks_for_survival
from simulations.report.figures import draw_curves
from simulations.report.heatmaps import draw_accuracy_map
from simulations.report.provenance import UNKNOWN, job_hours, provenance_blocks
from simulations.report.scoreboard import judge
from simulations.report.tables import accuracy_table, parts
from simulations.report.view import Results
from simulations.sweep.cells import cell_path
from simulations.sweep.experiment import Experiment

pytestmark = pytest.mark.torch

OWN = Experiment(
    name="own",
    title="Mine",
    source="a question",
    settings={"clients": 10, "rounds": 2, "assumed_byzantine": 2},
    profiles={"quick": {"note": "All.", "seeds": [0, 1]}},
    rules={"averaging": {"rule": "mean"}, "krum": {"rule": "krum"}, "phocas": {"rule": "phocas"}},
    attacks={
        "calm": {},
        "weak": {"attack": "lie", "byzantine": 2},
        "strong": {"attack": "ipm", "byzantine": 2},
    },
    figures={
        "first": {
            "title": "One",
            "rules": ["averaging", "krum", "phocas"],
            "attacks": ["calm", "weak", "strong"],
        },
        "second": {"title": "Two", "rules": ["phocas"], "attacks": ["calm", "strong"]},
    },
)  # fmt: skip


def record(cell):
    """Averaging fails only under the strong attack. Without attackers, Phocas and averaging agree."""
    reached = 0.1 if (cell.rule, cell.attack) == ("averaging", "strong") else 0.9
    model = "plain" if cell.rule == "phocas" and cell.attack == "calm" else cell.rule
    return {
        "config": cell.config.model_dump(exclude=set(cell.places)),
        "final_accuracy": reached,
        "curves": {"round": [1, 2], "accuracy": [reached] * 2, "cosine": [0.5, None]},
        "rejected": {"byzantine": None, "honest": None},
        "skipped": 0,
        "parameters_sha256": f"{model.replace('averaging', 'plain')}, {cell.attack}, {cell.seed}",
        "seconds": 900.0,
        "versions": {"flwr": "1.41.0", "ray": None},
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("own")
    told = {"processor": "A fast one", "cores": 2, "kernels": "avx2", "commit": "abc"}
    for number, cell in enumerate(OWN.cells("quick")):
        dated = {"provenance": told | {"date": f"2026-01-{number + 1:02}"}} if number else {}
        write(record(cell) | dated, cell_path(path, cell))
    return path


@pytest.fixture(scope="module")
def results(folder):
    return Results([OWN], "quick", folder)


def claim(**changes):
    standard = {
        "paper": "A paper", "where": "1", "says": "It survives.", "measure": "learned",
        "experiment": "own", "figure": "second", "rules": ["phocas"], "attacks": ["strong"],
        "against": {"attack": "calm"}, "at_least": 0.8,
    }  # fmt: skip
    return Claim(**standard | changes)


def judged(results, **changes):
    (found,) = judge([claim(**changes)], results)
    return found


def test_averaging_under_the_same_attack_is_shown_beside_a_claim_about_survival(results):
    """If a claim's figure has no such run, the run of another figure is shown."""
    survives = {"figure": "first", "against": {"rule": "averaging", "attack": "calm"}}
    strong = judged(results, **survives)
    assert strong.control == "averaging, strong: 0.00 [0.00, 0.00]"
    assert not strong.averaging_survives
    weak = judged(results, **survives, attacks=["weak"])
    assert weak.control == "within the bound, too: averaging, weak: 1.00 [1.00, 1.00]"
    both = judged(results, **survives, attacks=["weak", "strong"])
    assert not both.averaging_survives
    assert judged(results, **survives, attacks=["calm"]).control == ""
    assert judged(results, **survives | {"at_least": -1, "below": 0.5}).averaging_survives is True
    breaks = {"figure": "first", "below": 0.5, "at_least": float("-inf")}
    assert judged(results, **breaks).control == ""
    blocks = scoreboard_blocks([strong, weak], results)
    (told,) = (b.text for b in blocks if "no test of the rule" in getattr(b, "text", ""))
    assert told.startswith("Averaging is within the bound under the same attack, too, in 1 claims")
    assert told.endswith(": 2.")


def test_survival_is_more_of_what_is_good_and_less_of_what_is_not():
    assert asks_for_survival(claim())
    assert asks_for_survival(claim(measure="behind", at_least=float("-inf"), at_most=3))
    assert not asks_for_survival(claim(measure="behind", at_least=3))
    assert not asks_for_survival(claim(at_least=float("-inf"), below=0.5))


def folded(found, results):
    """The folded part for the single paper that has claims here."""
    (fold,) = (block for block in scoreboard_blocks(found, results) if isinstance(block, Fold))
    return fold.blocks


def test_a_claim_leads_to_its_cells_and_names_them(results):
    found = [judged(results), judged(results, figure="first", attacks=["weak"])]
    keys = list(results.runs_by_key(results.places("own", "second")))
    assert found[0].cells == keys[2:]
    assert found[0].references == keys[:2]
    (table,) = folded(found, results)
    assert table.rows[0][-1] == Link("2 cells", "Mine, second")
    heading, _, cells = cell_blocks(found)
    assert heading == Heading("Cells of the claims")
    assert cells.rows[0] == [
        "1",
        "own",
        *(" ".join(k for _, k in part) for part in (keys[2:], keys[:2])),
    ]
    linked = [Heading("Title", 1), Heading("Mine, second", 3), table]
    assert "[2 cells](#mine-second) |" in render_markdown(linked)
    page = render_html(linked, None)
    assert '<a href="#mine-second">2 cells</a>' in page
    assert f'id="{anchor("Mine, second")}"' in page


def test_one_model_is_not_several_pieces_of_evidence(results):
    """It counts once among the cells, in a claim, and in a figure."""
    calm = {"attacks": ["calm"], "figure": "first", "against": {"attack": "strong"}}
    twice = judged(results, **calm, rules=["averaging", "phocas"])
    alone = judged(results, **calm, rules=["phocas"])
    (table,) = folded([twice, alone], results)
    assert table.rows[0][-1].text == "4 cells, 2 different models"
    assert table.rows[1][-1].text == "2 cells, those of claim 1"
    rows = {row[0]: row[1:] for row in accuracy_table(results, "own", "first").rows}
    assert [cell.partition("=")[2] for cell in rows["calm"]] == ["1", "", "1"]
    assert [cell.partition("=")[2] for cell in rows["weak"]] == ["", "", ""]
    told = provenance_blocks(results)[1].text
    assert told.startswith("18 cells hold 16 different models.")  # two figures share some


def test_the_report_says_where_its_numbers_come_from(results):
    *_, table = provenance_blocks(results)
    (row,) = table.rows
    assert row[:4] == ["Mine", "18", "16", "4.5"]
    assert row[4:] == [f"A fast one, 2; {UNKNOWN}", "avx2", "abc", "2026-01-22"]
    assert "Versions: flwr 1.41.0." in provenance_blocks(results)[1].text
    assert job_hours([{"seconds_per_round": 36, "config": {"rounds": 50}}]) == 0.5


def test_a_report_of_one_figure(folder, tmp_path):
    file = tmp_path / "own.toml"
    file.write_text(
        """
        title = "Mine"
        source = "a question"
        settings = { clients = 10, rounds = 2, assumed_byzantine = 2 }
        profiles.quick = { note = "All.", seeds = [0, 1] }
        rules.phocas = { rule = "phocas" }
        attacks.calm = {}
        attacks.strong = { attack = "ipm", byzantine = 2 }
        figures.first = { title = "One", rules = ["phocas"], attacks = ["calm"] }
        figures.second = { title = "Two", rules = ["phocas"], attacks = ["calm", "strong"] }
        """.replace("        ", "")
    )
    out = tmp_path / "out"
    command = ["report", str(folder), str(file), "--out", str(out), "--figure"]
    assert CliRunner().invoke(app, [*command, "second"]).exit_code == 0
    assert {p.name.split("-")[1] for p in out.iterdir() if p.suffix in (".png", ".svg")} == {
        "second"
    }
    readme = (out / "README.md").read_text()
    assert re.findall(r"(?m)^### (.*)", readme) == ["Mine, second"]
    assert "4 of 4 cells run" in readme
    refused = CliRunner().invoke(app, [*command, "third"])
    assert refused.exit_code == 1
    assert "There is no figure third. Give one of first, second." in " ".join(
        refused.output.split()
    )


def test_every_seed_is_a_line_and_their_mean_a_thick_one(results):
    drawn = draw_curves(results, "own", "second", "accuracy", "accuracy", 100)
    calm = drawn.axes[0]
    lines = [line for line in calm.get_lines() if line.get_gid() != "thread"]
    widths = sorted(line.get_linewidth() for line in lines)
    assert len(widths) == 3
    assert widths[0] == widths[1] < widths[2]
    assert [text.get_text() for text in calm.texts] == ["Phocas"]


def test_many_rules_are_down_and_each_variant_stands_alone(results, tmp_path):
    names = [f"krum {number}" for number in range(13)]
    rules = {name: {"rule": "krum", "learning_rate": 0.1 + i / 100} for i, name in enumerate(names)}
    figure = {
        "title": "Many",
        "rules": names,
        "attacks": ["calm", "weak"],
        "variants": {"a": {}, "b": {"batch_size": 8}},
    }
    own = Experiment(**OWN.model_dump() | {"rules": rules, "figures": {"many": figure}})
    for cell in own.cells("quick"):
        write(record(cell), cell_path(tmp_path, cell))
    many = Results([own], "quick", tmp_path)
    assert parts(many, "own", "many") == ["a", "b"]
    assert parts(results, "own", "first") == [None]
    table = accuracy_table(many, "own", "many", "b")
    assert list(table.head) == ["final accuracy (%), b", "calm", "weak"]
    assert [row[0] for row in table.rows] == [name.replace("krum", "Krum") for name in names]
    drawn = draw_accuracy_map(many, "own", "many", "b")
    assert drawn.count("<g><title>") == 26
    assert "own, many, b: final accuracy (%)" in drawn
