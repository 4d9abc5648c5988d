"""The picture of which client has which samples."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from simulations.commands.cli import app
from simulations.config import RunConfig
from simulations.report.holdings import BYZANTINE, HONEST, counts_of, draw_holdings, drawing
from simulations.report.holdings_panels import holdings_drawings
from simulations.report.view import Place

pytestmark = pytest.mark.torch

SVG = "{http://www.w3.org/2000/svg}"
DOCS = Path(__file__).resolve().parents[2] / "docs"
SHOWN = {
    "partition": "gamma", "gamma": 0.33, "partition_among": "honest", "clients": 14, "byzantine": 4,
}  # fmt: skip


def rectangles(svg):
    """The parts of a drawing, by what they stand for."""
    found = ET.fromstring(svg).iter(f"{SVG}rect")
    return {r.find(f"{SVG}title").text: r for r in found if r.find(f"{SVG}title") is not None}


def test_areas_are_as_large_as_the_numbers_of_samples():
    parts = rectangles(drawing("Who <has> what", np.array([[100, 25], [0, 75]]), byzantine=[1]))
    assert set(parts) == {
        "client 0, class 0: 100 samples", "client 1, class 0: 25 samples", "client 1, class 1: 75 samples",
        "client 0: 100 samples", "client 1: 100 samples",
    }  # fmt: skip
    wide = float(parts["client 0, class 0: 100 samples"].get("width"))
    assert wide == pytest.approx(2 * float(parts["client 1, class 0: 25 samples"].get("width")))
    assert parts["client 0, class 0: 100 samples"].get("fill") == HONEST
    assert parts["client 1, class 0: 25 samples"].get("fill") == BYZANTINE


def test_counts_are_those_of_the_run():
    counts = counts_of(RunConfig(partition="sorted", clients=10, rule="mean"))
    assert counts.shape == (10, 10)
    assert counts.sum() == 1437
    assert set(counts.sum(axis=0)) == {143, 144}
    assert counts[0, 0] > 100


def test_only_data_that_are_on_every_machine_are_drawn_in_a_report():
    place = Place("mine", "one", "mean", "no attack", "alpha = 1")
    for dataset in ("mine.data:load", "mnist"):
        config = SimpleNamespace(dataset=dataset, partition="iid", byzantine=0)
        results = SimpleNamespace(
            places=lambda *_: [place], runs=lambda _: {0: {}}, configs={place: config}
        )
        assert [*holdings_drawings(results, "mine")] == []


def test_the_picture_in_the_docs_is_what_the_command_draws():
    assert (DOCS / "partition.svg").read_text() == draw_holdings(RunConfig(**SHOWN))
    page = (DOCS / "simulations.md").read_text()
    options = re.search(r"simulations partition ((?:.*\\\n)*.*)", page)[1]
    told = {
        "partition": "gamma", "gamma": "0.33", "partition-among": "honest", "clients": "14", "byzantine": "4",
    }  # fmt: skip
    assert {
        name: value for name, value in re.findall(r"--([\w-]+) (\S+)", options) if name != "out"
    } == told


def test_the_command_writes_it_and_says_what_is_wrong(tmp_path):
    out = tmp_path / "deep" / "who.svg"
    arguments = [
        "partition",
        "--partition",
        "classes",
        "--classes-per-client",
        "3",
        "--clients",
        "40",
    ]
    done = CliRunner().invoke(app, [*arguments, "--rule", "mean", "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "classes per client 3" in out.read_text()
    refused = CliRunner().invoke(app, ["partition", "--partition", "labels"])
    assert refused.exit_code == 1
    assert "`--partition` should be one of iid" in " ".join(refused.output.split())
    refused = CliRunner().invoke(app, ["partition", "--clients", "2000", "--rule", "mean"])
    assert refused.exit_code == 1
    assert "`--clients` should be at most the number of samples" in " ".join(refused.output.split())
