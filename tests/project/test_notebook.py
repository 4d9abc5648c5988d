"""The notebook of the stress test runs, its text is true, and the site shows its outputs."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = next(p for p in Path(__file__).resolve().parents if (p / "pyproject.toml").exists())
DOCS = REPOSITORY / "docs"
NOTEBOOK = DOCS / "stress-notebook.ipynb"
SITE = """
site_name: small
use_directory_urls: false
theme: {{name: material, font: false}}
hooks: [{0}/_build/hooks.py, {0}/_build/notebooks.py]
nav: [index.md, small.md]
validation: {{omitted_files: warn, unrecognized_links: warn}}
"""


def hook():
    """The script that makes pages of notebooks."""
    path = DOCS / "_build" / "notebooks.py"
    spec = importlib.util.spec_from_file_location("notebooks", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def executed():
    """The notebook with its outputs."""
    return hook().executed(NOTEBOOK)


def said(notebook, cell):
    """The text that a cell printed."""
    (found,) = (c for c in notebook.cells if c.id == cell)
    assert {output.get("name", "stdout") for output in found.outputs} <= {"stdout"}
    return "".join(output.get("text", "") for output in found.outputs)


def test_notebooks_are_kept_without_what_they_came_to():
    for path in DOCS.rglob("*.ipynb"):
        for cell in json.loads(path.read_text())["cells"]:
            assert not cell.get("outputs"), f"{path.name} has outputs: clear them before a commit"
            assert cell.get("execution_count") is None, f"{path.name} has numbers of executed cells"


def test_every_notebook_is_in_the_navigation():
    navigation = (REPOSITORY / "mkdocs.yml").read_text()
    for path in DOCS.rglob("*.ipynb"):
        assert f": {path.relative_to(DOCS).with_suffix('.md').as_posix()}\n" in navigation


@pytest.mark.slow
def test_the_notebook_shows_what_it_says(executed):
    for cell in executed.cells:
        if cell.cell_type == "code":
            said(executed, cell.id)  # there are no warnings
    (heatmap,) = next(c for c in executed.cells if c.id == "heatmap").outputs
    assert "image/svg+xml" in heatmap.data
    rule, reason, *_ = said(executed, "recommendation").splitlines()
    assert rule in ("median", "phocas")
    assert re.match(rf"{rule} (loses|gains) [\d.]+ points at worst", reason)
    worth, *verdicts = said(executed, "cell").splitlines()
    assert worth.startswith("accuracy 0.")
    assert len(verdicts) == 10
    left_out = [line for line in verdicts if "not selected" in line]
    assert len(left_out) == 4, "two attackers and two honest nodes"
    assert [line for line in verdicts if line.endswith("(attacks)")] == [
        line for line in left_out if line.endswith("(attacks)")
    ]
    assert sum(line.endswith("(attacks)") for line in left_out) == 2
    assert said(executed, "assert") == ""
    assert "digits-numpy should reach accuracy of at least 0." in said(executed, "fails")


@pytest.mark.slow
def test_two_of_the_three_attacks_break_the_app_of_the_notebook(executed):
    (heatmap,) = next(c for c in executed.cells if c.id == "heatmap").outputs
    numbers = re.findall(r'class="number[^>]*>([^<]+)<', heatmap.data["image/svg+xml"])
    lost = [float(number.replace("\N{MINUS SIGN}", "-")) for number in numbers]
    app, *rules = lost[:4], lost[4:8], lost[8:12], lost[12:]
    assert sum(points > 50 for points in app) == 2
    assert all(max(row[1:]) < 15 for row in rules)
    page = hook().markdown(executed)
    assert "\n<div><svg " in page
    assert max(len(line) for line in page.splitlines() if "<svg" not in line) <= 140


@pytest.mark.slow
def test_a_notebook_becomes_a_page_with_what_it_came_to(tmp_path):
    cell = {"cell_type": "code", "metadata": {}, "id": "a", "outputs": [], "execution_count": None}
    text = {
        "cell_type": "markdown",
        "metadata": {},
        "id": "b",
        "source": "# Small\n\n[Back](index.md)",
    }
    notebook = {"cells": [text, cell | {"source": "print(6 * 7)"}], "metadata": {}}
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "small.ipynb").write_text(json.dumps(notebook | {"nbformat": 4, "nbformat_minor": 5}))
    (docs / "index.md").write_text("# Here\n\n[There](small.ipynb)")
    (tmp_path / "mkdocs.yml").write_text(SITE.format(DOCS))
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    subprocess.run(command, cwd=tmp_path, check=True)
    page = (tmp_path / "site" / "small.html").read_text()
    assert "42" in page
    assert 'href="index.html"' in page
    assert 'href="small.html"' in (tmp_path / "site" / "index.html").read_text()
    assert (tmp_path / "site" / "small.ipynb").exists()
