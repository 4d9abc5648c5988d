"""The page of a stress test is complete for every result, even if the result lacks something."""

from __future__ import annotations

import copy
import io
import itertools
import json
import math
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
import stressed
from documents import CHROMIUM, measured, opened, parsed
from rich.console import Console

from flwr_byzantine.lab.page import heatmap_svg, page
from flwr_byzantine.lab.page.colours import (
    DARK,
    LIGHT,
    LINES_DARK,
    LINES_LIGHT,
    contrast,
    luminance,
    on,
    step,
)
from flwr_byzantine.lab.page.scale import Scale, spread
from flwr_byzantine.lab.page.text import point_in_words
from flwr_byzantine.lab.terminal import table

EXAMPLE = stressed.example()
RESULTS = {
    "example": EXAMPLE,
    "loss": stressed.loss(),
    "seeds": stressed.repeated(),
    "grid": stressed.grid(25, 15),
    "empty": {},
}
ODD = "<script>alert('x')</script>&\"quote\" 名 \x00\ud800\u202e"


def shown(result):
    """The text of each cell of the heatmap, and of each cell of the table."""
    root = parsed(page(result))
    found = {"g": {}, "td": {}}
    for tag, cells in found.items():
        for element in root.all(tag):
            if "data-rule" in element.attributes:
                pair = element.attributes["data-rule"], element.attributes["data-attack"]
                assert pair not in cells
                texts = [child.text for child in element.all("text")]
                cells[pair] = texts[0] if tag == "g" else element.text
    return found["g"], found["td"]


def changed(**others):
    """The example, with changes to its first cell. A field that is None is left out."""
    result = copy.deepcopy(EXAMPLE)
    for key, value in others.items():
        result["cells"][0][key] = value
    return result


@pytest.mark.parametrize("name", RESULTS)
def test_a_page_is_well_formed_and_stands_alone(name):
    text = page(RESULTS[name])
    root = parsed(text)
    ids = [e.attributes["id"] for e in root.all() if "id" in e.attributes]
    assert len(ids) == len({*ids})
    for element in root.all():
        for key in ("aria-labelledby", "aria-describedby"):
            assert {*element.attributes.get(key, "").split()} <= {*ids}
        assert element.attributes.get("href", "#")[0] in "#d"
        assert "src" not in element.attributes
        assert not [a for a in element.attributes if a.startswith("on")]
    assert not list(root.all("script"))
    assert {link.attributes["href"][1:] for link in root.all("a")} <= {*ids}
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "")
    assert "url(" not in text
    assert "@import" not in text


@pytest.mark.parametrize("name", RESULTS)
def test_a_page_says_what_is_what_to_those_who_listen(name):
    root = parsed(page(RESULTS[name]))
    assert next(root.all("html")).attributes["lang"] == "en"
    assert len(list(root.all("h1"))) == 1
    levels = [int(e.tag[1]) for e in root.all() if e.tag in ("h1", "h2", "h3")]
    assert all(b <= a + 1 for a, b in itertools.pairwise(levels))
    for head in root.all("th"):
        assert head.attributes["scope"] in ("row", "col", "colgroup")
        assert head.text.strip()
    for one in root.all("table"):
        assert next(one.all("caption")).text
    for drawing in root.all("svg"):
        assert drawing.attributes["role"] == "img"
        assert [child.tag for child in drawing.children[:2]] == ["title", "desc"]
        assert all(child.text for child in drawing.children[:2])
    for region in root.all(role="region"):
        assert region.attributes["tabindex"] == "0"
        assert region.attributes["aria-label"]
    for section in root.all("section"):
        assert "aria-labelledby" in section.attributes


@pytest.mark.parametrize("name", ["example", "loss", "seeds", "grid"])
def test_every_cell_is_in_the_heatmap_and_in_the_table(name):
    drawn, listed = shown(RESULTS[name])
    wanted = [(cell["rule"], cell["attack"]) for cell in RESULTS[name]["cells"]]
    assert [*drawn] == [*listed] == wanted


def test_cells_hold_points_lost_and_values():
    drawn, listed = shown(EXAMPLE)
    assert drawn["app", "sign_flip"] == "83.3"
    assert listed["app", "sign_flip"] == "0.09883.3"
    assert drawn["app", "none"] == "0.0"
    gained, _ = shown(changed(lost=-2.26))
    assert gained["app", "none"] == "\N{MINUS SIGN}2.3"


def test_each_rule_has_its_worst_cell_marked():
    root = parsed(page(EXAMPLE))
    marked = [
        (cell.attributes["data-rule"], cell.attributes["data-attack"])
        for cell in root.all("g")
        if any(child.attributes.get("class", "").startswith("ring") for child in cell.all("rect"))
    ]
    assert marked == [
        ("app", "sign_flip"), ("fedavg", "sign_flip"), ("median", "lie"), ("phocas", "lie"),
        ("krum", "min_max"), ("nnm+phocas", "min_max"),
    ]  # fmt: skip


def test_a_failed_run_is_shown_with_its_reason():
    drawn, listed = shown(EXAMPLE)
    assert drawn["krum", "ipm"] == "error"
    assert listed["krum", "ipm"] == "failed"
    root = parsed(page(EXAMPLE))
    (line,) = next(root.all("ul", class_="errors")).all("li")
    assert line.text == f"krum, ipm: {stressed.ERROR}"
    assert "No curve: krum." in root.text
    several = changed(error="first line\n  second <line>")
    assert "app, no attack: first line second <line>" in parsed(page(several)).text


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float32("nan")])
def test_a_model_that_broke_is_the_worst_and_says_so(value):
    result = changed(attack="burst", final=value, lost=value, curve=[[0, 0.1], [1, value]])
    drawn, _ = shown(result)
    assert drawn["app", "burst"] == "diverges"
    assert "the model broke" in page(result)
    assert step(math.inf) == len(LIGHT) - 1


def test_the_recommendation_comes_first_with_its_reason():
    root = parsed(page(EXAMPLE))
    first = next(root.all("section"))
    assert first.attributes["aria-labelledby"] == "advice"
    assert "Take nnm+phocas" in first.text
    assert EXAMPLE["recommendation"]["reason"] in first.text
    for words in ("83.3 points lost under sign_flip", "2.2 points lost under min_max", "1.1"):
        assert words in first.text
    none = parsed(page(stressed.loss()))
    assert "No rule is recommended" in next(none.all("section")).text


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("server", "the server's own"),
        ("evaluation", "after evaluating"),
        ("training", "after training"),
    ],
)
def test_the_page_says_which_number_it_shows(source, words):
    text = parsed(page(EXAMPLE | {"source": source})).text
    assert (
        f"The number is accuracy after the last round. Higher is better. It comes from {words}"
        in (text.replace("what honest nodes report ", ""))
    )
    assert "One point is 0.01 of accuracy." in text
    low = parsed(page(stressed.loss())).text
    assert "Lower is better." in low
    assert "One point is 1 % of the loss of the app without an attack, which is 0.310." in low


def test_an_app_that_fails_under_an_attack_fails_at_worst():
    result = copy.deepcopy(EXAMPLE)
    result["cells"][2] |= {"error": "ValueError: NaN", "lost": None}
    first = next(parsed(page(result)).all("section")).text
    assert "Your app alone, at worstfails under lie" in first


def test_a_point_of_a_number_that_was_zero():
    assert point_in_words("loss", True, 0.0) == "One point is 0.01 of loss."


def test_curves_have_a_labelled_line_for_each_rule():
    root = parsed(page(EXAMPLE))
    charts = list(root.all("svg", class_="chart"))
    assert len(charts) == len(stressed.ATTACKS)
    for chart, attack in zip(charts, stressed.ATTACKS, strict=True):
        labels = [
            e.text.split()[0] for e in chart.all("text") if "tick" not in e.attributes["class"]
        ]
        failed = {"krum"} if attack == "ipm" else set()
        assert {*labels} == {*stressed.RULES} - failed
        styles = [
            (line.attributes.get("stroke-dasharray", ""), mark.attributes["d"])
            for line in chart.all("path")
            for mark in itertools.islice(line.parent.all("path"), 1, 2)
            if line.attributes["class"].startswith("line ")
        ]
        assert len({*styles}) == len(styles) == len(labels)  # they differ without colours


def test_shares_of_rejected_replies_are_counted():
    nodes = stressed.NODES
    said = [
        [1, nodes[0], "trimmed"], [1, nodes[1], "kept"], [1, nodes[2], "dropped"],
        [1, nodes[3], "failed"], [2, nodes[0], "kept"], [2, nodes[1], "not selected"],
        [2, nodes[2], "kept"], [2, nodes[3], "skipped"],
    ]  # fmt: skip
    one = stressed.cell("median", "lie", 0.8)
    one |= {"verdicts": said, "byzantine": [[nodes[0]], [str(nodes[1])]]}
    root = parsed(page({"cells": [one]}))
    shares = [e.text for e in root.all("span", class_="meter")]
    assert shares == ["100 %", "25 %"]  # the Byzantine nodes, and the honest ones
    assert "the attacking nodes changed from round to round" in root.text
    assert "those that failed (1), and those of rounds without a result (1)" in root.text
    assert "1 of 4 replies: 3 kept, 1 dropped, 1 failed, 1 skipped" in page({"cells": [one]})


def test_nodes_are_named_exactly():
    text = parsed(page(EXAMPLE)).text
    assert (
        f"Byzantine were the nodes {' and '.join(sorted(map(str, stressed.NODES[2:4])))}." in text
    )
    assert all(str(node) in text for node in stressed.NODES)
    lost = next(e for e in parsed(page(EXAMPLE)).all("table") if "honest nodes lose" in e.text)
    krum = next(row for row in lost.all("tr") if row.text.startswith("krum"))
    worst = EXAMPLE["clients_who_lose"]["krum"][0]
    assert f"{worst[1]:.1f}{worst[0]}" in krum.text


def test_costs_are_over_those_of_the_app():
    result = copy.deepcopy(EXAMPLE)
    for cell in result["cells"]:
        quickest = 3.0 if cell["rule"] == "krum" else 2.0
        cell["seconds_per_round"] = quickest + (cell["attack"] != "lie")
    cost = next(e for e in parsed(page(result)).all("table") if "Seconds per round" in e.text)
    rows = {row.children[0].text: row.text for row in cost.all("tr")}
    assert rows["krum"] == "krum3.0001.50 \N{MULTIPLICATION SIGN}"
    assert rows["app"] == "app2.0001.00 \N{MULTIPLICATION SIGN}"


def test_the_command_runs_the_same_again():
    text = parsed(page(EXAMPLE)).text
    assert (
        "flwr-byzantine stress ./quickstart-digits --rules app,fedavg,median,phocas,krum,nnm+phocas "
        "--attacks none,sign_flip,lie,ipm,min_max --clients 10 --byzantine 2 --rounds 8 --seed 0 "
        "--metric accuracy -c learning-rate=0.1 -c 'optimizer=\"sgd\"'"
    ) in text
    assert (
        "flwr-byzantine stress ."
        in parsed(page(EXAMPLE | {"command": "flwr-byzantine stress ."})).text
    )


def test_names_are_text_and_never_markup():
    result = copy.deepcopy(EXAMPLE)
    result |= {"app": ODD, "metric": ODD, "config": {ODD: ODD}, "engine": ODD}
    result["recommendation"] = {"rule": ODD, "reason": ODD}
    result["clients_who_lose"] = {ODD: [[ODD, 3.0]]}
    for cell in result["cells"][:5]:
        cell |= {"rule": ODD, "error": ODD, "byzantine": [[ODD]], "verdicts": [[1, ODD, ODD]]}
    result["cells"][7] |= {"attack": ODD}
    text = page(result)
    root = parsed(text)
    assert not list(root.all("script"))
    assert "<script>alert('x')" in root.text
    assert not {"\x00", "\ud800", "\u202e"} & {*text}
    text.encode()
    ET.fromstring(heatmap_svg(result))
    Console(file=io.StringIO()).print(table(result))


FIELDS = [*EXAMPLE["cells"][0], "finals", "losses", "curves"]


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", ["left out", None, math.nan, "text", [], [[None]], {}, True, -1])
def test_any_field_of_cells_may_be_missing_or_odd(field, value):
    result = stressed.repeated()
    for cell in result["cells"][::2]:
        if value == "left out":
            cell.pop(field, None)
        else:
            cell[field] = value
    whole = page(result)
    parsed(whole)
    ET.fromstring(heatmap_svg(result))
    assert "Points lost by rule and attack" in whole
    assert table(result).row_count


@pytest.mark.parametrize("field", [*EXAMPLE, "seeds"])
@pytest.mark.parametrize("value", ["left out", None, math.nan, "text", [[None]], {"rule": None}, 3])
def test_any_part_of_the_result_may_be_missing_or_odd(field, value):
    result = stressed.repeated() | {field: value}
    if value == "left out":
        del result[field]
    parsed(page(result))
    ET.fromstring(heatmap_svg(result))
    assert table(result).columns


def test_a_result_that_went_through_json_gives_the_same_page():
    assert page(json.loads(json.dumps(EXAMPLE))) == page(EXAMPLE)


@pytest.mark.parametrize(("rules", "attacks"), [(1, 1), (1, 3), (3, 1), (25, 15)])
def test_grids_of_every_size(rules, attacks):
    result = stressed.grid(rules, attacks)
    drawn, listed = shown(result)
    assert len(drawn) == len(listed) == rules * attacks
    assert len(list(parsed(page(result)).all("svg", class_="chart"))) == attacks


@pytest.mark.parametrize(("rules", "is_above"), [(3, False), (25, True)])
def test_what_colours_mean_stands_above_a_tall_grid(rules, is_above):
    texts = [e for e in ET.fromstring(heatmap_svg(stressed.grid(rules, 2))).iter() if e.get("y")]
    key = min(float(e.get("y")) for e in texts if e.get("class") == "strong")
    rows = [float(e.get("y")) for e in texts if "number" in (e.get("class") or "")]
    assert (key < min(rows)) is is_above


def test_without_an_app_there_is_nothing_to_compare_with():
    result = EXAMPLE | {"cells": [cell | {"lost": None} for cell in EXAMPLE["cells"][10:15]]}
    text = parsed(page(result)).text
    assert "Points cannot be counted" in text
    assert {*shown(result)[0].values()} == {"\N{EN DASH}"}


def test_heatmaps_stand_alone_and_side_by_side():
    one, other = (ET.fromstring(heatmap_svg(r)) for r in (EXAMPLE, stressed.loss()))
    ids = [{e.get("id") for e in root.iter() if e.get("id")} for root in (one, other)]
    assert not ids[0] & ids[1]
    assert one.get("class") != other.get("class")
    assert one.get("width")
    assert one.get("height")


def test_colours_can_be_read_and_told_apart_in_grey():
    for steps, papers in ((LIGHT, "#ffffff"), (DARK, "#171b21")):
        assert all(contrast(colour, on(colour)) >= 4.5 for colour in steps)
        shades = [luminance(colour) for colour in steps]
        assert shades == sorted(shades, reverse=steps is LIGHT)
        # The contrast of cells with the page grows towards the last step.
        away = [contrast(colour, papers) for colour in steps]
        assert away == sorted(away)
        ratios = [contrast(a, b) for a, b in itertools.pairwise(steps)]
        assert min(ratios) > 1.25
    assert all(contrast(colour, "#ffffff") >= 4.5 for colour in LINES_LIGHT)
    assert all(contrast(colour, "#171b21") >= 4.5 for colour in LINES_DARK)


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0.1, 0.95], ["0.2", "0.4", "0.6", "0.8"]),
        ([2.0, 2.0], ["1.8", "1.9", "2.0", "2.1", "2.2"]),
        ([0.31, 4.2e6], ["1", "100", "1e4", "1e6"]),
        ([-3.0, 2.0], ["\N{MINUS SIGN}3", "\N{MINUS SIGN}2", "\N{MINUS SIGN}1", "0", "1", "2"]),
    ],
)
def test_axes_have_round_ticks(values, ticks):
    assert [words for _, words in Scale.of(values).ticks()] == ticks


@pytest.mark.parametrize(
    "values",
    [[], [0.0], [1e308, -1e308], [1e-320, 1e308], [5e-324, 5e-324], [-1e9, 1e9], [1e15, 1e15 + 1]],
)
def test_axes_hold_any_values(values):
    scale = Scale.of(values)
    assert 0 < len(list(scale.ticks())) < 15 or not values
    assert all(0 <= scale.place(value) <= 1 for value in values)


def test_labels_do_not_overlap():
    drawn = np.random.default_rng(0)
    for _ in range(50):
        wanted = list(drawn.uniform(0, 200, 12))
        found = np.array(spread(wanted, 15, 0, 200))
        assert np.diff(np.sort(found)).min() >= 15 - 1e-9
        assert found.min() >= -1e-9
        assert found.max() <= 200 + 1e-9
        assert [*np.argsort(found)] == [*np.argsort(wanted)]


def test_the_table_on_the_terminal():
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(table(EXAMPLE))
    lines = console.export_text().splitlines()
    row = {
        found[0]: found[1:] for line in lines if len(found := re.split(r" {2,}", line.strip())) > 6
    }
    app = row["app"]
    assert app == ["0.0", "83.3", "51.9", "71.0", "58.1", "83.3", "1.00 \N{MULTIPLICATION SIGN}"]
    assert row["krum"][3:6] == ["error", "6.2", "error"]
    assert "nnm+phocas *" in row


@pytest.fixture
def page_of(tmp_path):
    """Write a page, and return its path."""

    def write(result):
        path = tmp_path / "stress.html"
        path.write_text(page(result))
        return path

    return write


browser = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


@browser
@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("name", RESULTS)
def test_a_browser_opens_the_page_without_a_complaint(name, page_of, tmp_path):
    result = RESULTS[name]
    dom, complaints = opened(page_of(result), tmp_path)
    assert complaints == []
    for tag in ("g", "td"):
        assert dom.count(f"<{tag} data-rule=") + dom.count(
            f'<{tag} class="num result" data-rule='
        ) == len(result.get("cells", []))


@browser
@pytest.mark.slow
@pytest.mark.browser
def test_a_browser_refuses_what_a_page_must_not_do(page_of, tmp_path):
    path = page_of(EXAMPLE)
    bad = "<script>document.title = 'ran'</script><img src='http://127.0.0.1:9/x.png'></body>"
    path.write_text(path.read_text().replace("</body>", bad))
    dom, complaints = opened(path, tmp_path)
    assert len(complaints) == 2
    assert all("Content Security Policy" in line for line in complaints)
    assert "<title>ran" not in dom


@browser
@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("width", [1400, 390, 320])
@pytest.mark.parametrize("name", RESULTS)
def test_the_page_fits_the_screen_and_loads_nothing(name, width, tmp_path):
    found = measured(page(RESULTS[name]), width, tmp_path)
    assert found["inner"] == width
    assert found["scroll"] <= width
    assert found["wide"] == []
    assert found["cut"] == []
    assert found["loaded"] == []


@browser
@pytest.mark.slow
@pytest.mark.browser
def test_long_names_fit_a_narrow_screen(tmp_path):
    result = copy.deepcopy(EXAMPLE)
    long = "a_name_that_has_no_end_" * 8
    result |= {"app": long, "metric": long, "recommendation": {"rule": long, "reason": long * 3}}
    for cell in result["cells"][:5]:
        cell |= {"rule": long}
    result["cells"][7] |= {"error": long}
    found = measured(page(result), 390, tmp_path)
    assert found["scroll"] <= 390
    assert (found["wide"], found["cut"]) == ([], [])
