"""What a stress test prints on terminals of any width, and to files."""

from __future__ import annotations

import copy
import io
import math
import re

import pytest
import stressed
from rich.console import Console

from flwr_byzantine.lab.on_data.node import CANNOT
from flwr_byzantine.lab.page.data import read
from flwr_byzantine.lab.page.words import notes
from flwr_byzantine.lab.results import StressResult
from flwr_byzantine.lab.terminal import show

EXAMPLE = stressed.example()
RESULTS = {
    "example": EXAMPLE,
    "loss": stressed.loss(),
    "seeds": stressed.repeated(),
    "grid": stressed.grid(6, 15),
}


def printed(result, width=None, **others):
    """The lines on a terminal of a width. Without a width, the lines in a file."""
    if width is not None:
        others = {"force_terminal": True, "color_system": None, "width": width} | others
    console = Console(file=io.StringIO(), **others)
    show(console, result)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def numbers(lines):
    """All numbers with a decimal point, sorted."""
    return sorted(re.findall(r"[\N{MINUS SIGN}\d]+\.\d+", " ".join(lines)))


@pytest.mark.parametrize("name", RESULTS)
@pytest.mark.parametrize("width", [30, 40, 60, 80, 120])
def test_narrow_terminals_show_every_number(name, width):
    lines = printed(RESULTS[name], width)
    assert max(map(len, lines)) <= width
    assert numbers(lines) == numbers(printed(RESULTS[name], 1000))


@pytest.mark.parametrize("width", [40, 60, 80])
def test_names_are_whole_on_narrow_terminals(width):
    text = "\n".join(printed(EXAMPLE, width))
    assert "…" not in text
    for name in (*stressed.RULES, *stressed.ATTACKS[1:], "no attack", "worst", "time"):
        assert name in text


def test_each_table_of_a_narrow_terminal_names_its_rules():
    lines = printed(EXAMPLE, 40)
    assert sum(line.startswith("rule ") for line in lines) == 3
    assert sum(line.startswith("nnm+phocas *") for line in lines) == 3


def test_rules_and_attacks_have_a_line_each_where_names_are_long():
    lines = printed(stressed.grid(3, 4), 40)
    assert "app" in lines
    assert "bucketing+rule_of_number_2 *" in lines
    assert sum(line.startswith("  attack_number_1 ") for line in lines) == 3


def test_a_file_has_whole_lines(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    for name, result in RESULTS.items():
        lines = printed(result)
        (heads,) = (line for line in lines if line.startswith("rule "))
        assert heads.endswith("worst    time"), name
    assert max(map(len, printed(RESULTS["grid"]))) > 250


def test_numbers_beyond_all_bounds_are_words():
    text = "\n".join(printed(RESULTS["loss"], 80))
    assert re.search(r"app +0\.0 +> 1000 +diverges +diverges", text)
    assert '"> 1000" means more than 1000 points' in text
    assert '"diverges" means that loss ended as infinite' in text
    assert not re.search(r"\de\d|inf\b|nan|NaN", text)
    assert "diverges" not in "\n".join(printed(EXAMPLE, 80))


def test_the_spread_of_seeds_is_shown_and_explained():
    text = "\n".join(printed(RESULTS["seeds"], 200))
    assert re.search(r"app +0\.0 ± 2\.0 +83\.3 ± 2\.0", text)
    assert (
        "means over 3 seeds. Behind ± is half of the distance from the lowest seed to the highest"
        in text
    )
    assert "±" not in "\n".join(printed(EXAMPLE, 200))


def test_a_result_gives_its_table_as_text():
    shown = StressResult(EXAMPLE).table()
    assert repr(shown) == str(shown)
    assert "\x1b" not in shown
    assert re.search(r"^nnm\+phocas \* .* 2\.2  1\.1\d .$", shown, re.MULTILINE)


def test_reasons_say_what_diverged():
    from flwr_byzantine.lab.results import recommend

    def cell(rule, attack, lost):
        return {"rule": rule, "attack": attack, "lost": lost, "seconds_per_round": 1.0}

    runs = [cell("app", "none", 0.0), cell("app", "lie", 3e11), cell("median", "lie", 2.0)]
    reason = "the app without a rule loses more than 1000 points (under lie)."
    assert recommend(runs)["reason"].endswith(reason)
    gains = recommend([*runs[:2], cell("median", "lie", -0.8)])["reason"]
    assert gains.startswith("median gains 0.8 points at worst (under lie)")
    assert recommend([*runs[:1], cell("app", "lie", math.inf), runs[2]])["rule"] == "median"


def test_attacks_that_could_not_be_made_count_in_no_worst_case():
    result = stressed.example()
    before = {rule: read(result).weakest(rule) for rule in read(result).rules}
    for cell in [cell for cell in result["cells"] if cell["attack"] == "none"]:
        unmade = {"attack": "label_flip", "error": f"{CANNOT}: no data", "lost": None}
        result["cells"].append(cell | unmade)
    findings = read(result)
    assert findings.attacks[-1] == "label_flip"
    assert {rule: findings.weakest(rule) for rule in findings.rules} == before


def test_nodes_that_failed_where_nobody_attacks_are_named():
    data = copy.deepcopy(EXAMPLE)
    for cell in data["cells"]:
        cell["verdicts"] = [[1, "1", "kept"]]
    assert not any("failed" in note for note in notes(read(data)))
    for cell in data["cells"]:
        failed = ["12", "4"] if cell["attack"] == "none" else ["7"]
        cell["verdicts"] += [[2, node, "failed"] for node in failed]
    (line,) = (note for note in notes(read(data)) if "failed" in note)
    assert "these nodes failed there: 4, 12." in line
