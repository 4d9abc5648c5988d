"""The page of a result with several seeds, and what a notebook shows of a result."""

from __future__ import annotations

import copy
import json
import re
import xml.etree.ElementTree as ET

import stressed
from documents import parsed
from flwr.serverapp.strategy import FedAvg

from flwr_byzantine.lab.kept import finite
from flwr_byzantine.lab.page import heatmap_svg, page
from flwr_byzantine.lab.results import StressResult

SEEDS = stressed.repeated()
EXAMPLE = stressed.example()


def cells(result):
    """Pair -> the text of its cell in the heatmap."""
    found = parsed(heatmap_svg(result)).all("g")
    return {(c.attributes["data-rule"], c.attributes["data-attack"]): c for c in found}


def test_each_cell_has_its_spread_and_its_seeds():
    cell = cells(SEEDS)["median", "sign_flip"]
    assert [text.text for text in cell.all("text")] == ["3.7", "± 2.0"]
    assert "Points lost by seed: 5.7, 1.7, 3.7" in next(cell.all("title")).text
    text = parsed(page(SEEDS)).text
    assert "Numbers are means over 3 seeds. Behind ± is half of the distance from the" in text
    assert "90 runs, 3 seeds" in text
    assert "--seeds 3" in text
    assert "seeds0, 1, 2" in text
    assert "3.7 ± 2.0" in text
    assert "The numbers are those of the first seed." in text


def test_seeds_that_failed_or_diverged_are_named():
    found = cells(SEEDS)
    assert "by seed: 85.0, no number" in next(found["fedavg", "sign_flip"].all("title")).text
    broken = found["median", "lie"]
    assert [text.text for text in broken.all("text")] == ["diverges"]
    assert "14.8, 10.8, diverges" in next(broken.all("title")).text


def test_charts_have_a_band_over_the_seeds():
    root = parsed(page(SEEDS))
    bands = [p for p in root.all("path") if p.attributes.get("class", "").startswith("band ")]
    assert len(bands) == 29  # every cell but the failed one
    assert "its band reaches from the lowest seed to the highest" in root.text
    old = parsed(page(EXAMPLE))
    assert not [p for p in old.all("path") if p.attributes.get("class", "").startswith("band ")]
    assert "seeds" not in old.text


def test_one_seed_looks_as_before():
    one = copy.deepcopy(EXAMPLE) | {"seeds": [0]}
    for cell in one["cells"]:
        cell |= {"finals": [cell["final"]], "losses": [cell["lost"]], "curves": [cell["curve"]]}
    assert page(one) == page(EXAMPLE)


def test_a_model_that_diverged_does_so_in_the_file_too():
    result = finite(stressed.loss())
    assert json.dumps(result, allow_nan=False)
    text = [t.text for t in cells(result)["phocas", "gaussian"].all("text")]
    assert text == ["diverges"]


def test_what_diverges_is_explained():
    text = parsed(page(stressed.loss())).text
    assert '"diverges" means that loss ended as infinite or as no number' in text
    assert '"> 1000" means more than 1000 points' in text
    assert "> 1000" in [t.text for t in parsed(heatmap_svg(stressed.loss())).all("text")]
    assert "diverges" not in parsed(page(EXAMPLE)).text


def test_the_page_says_how_to_take_the_recommended_rule():
    root = parsed(page(EXAMPLE))
    code = next(root.all("pre", aria_label="Code for the Message API")).text
    names: dict = {"strategy": FedAvg()}
    exec(code, names)
    assert (
        repr(names["strategy"].rule) == "NearestNeighborMixing(num_byzantine=2) >> Phocas(trim=2)"
    )
    assert "grid = RobustGrid(grid, rule=NearestNeighborMixing(" in root.text
    for advice in ({"rule": None, "reason": "None."}, {"rule": "mine", "reason": "It holds."}):
        assert "How to put it" not in page(EXAMPLE | {"recommendation": advice})
    assert "How to put it" not in page(EXAMPLE | {"byzantine": None})


def test_a_point_is_explained_where_points_are_shown():
    first = next(s for s in parsed(page(EXAMPLE)).all("section", aria_labelledby="lost"))
    assert "One point is 0.01 of accuracy." in first.text


def test_a_notebook_shows_the_recommendation_and_the_heatmap():
    result = copy.deepcopy(EXAMPLE)
    result["recommendation"]["reason"] += " <b>"
    shown = StressResult(result)._repr_html_()
    root = parsed(shown)
    assert "Take nnm+phocas." in root.text
    assert result["recommendation"]["reason"] in root.text
    assert len(list(root.all("svg"))) == 1
    assert not {"html", "body", "script", "head"} & {e.tag for e in root.all()}
    drawn = StressResult(EXAMPLE).heatmap()
    assert drawn._repr_svg_() == str(drawn)


def test_a_heatmap_brings_its_own_background():
    """A notebook may be dark. So the drawing has a light background of its own behind its dark text."""
    root = ET.fromstring(heatmap_svg(EXAMPLE))
    background = next(e for e in root if e.tag.endswith("rect"))
    assert background.attrib == {"class": "paper", "width": "100%", "height": "100%"}
    style = next(e for e in root if e.tag.endswith("style")).text
    assert re.search(r"\.paper\{fill:#ffffff;", style)
    assert re.search(r"text\{[^}]*fill:#1c2024;", style)
