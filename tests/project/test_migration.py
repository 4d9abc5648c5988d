"""docs/migration.md agrees with the code."""

import importlib
import re
import subprocess
import sys
from inspect import signature
from pathlib import Path

import pytest

from flwr_byzantine import _moved

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "docs" / "migration.md").read_text()


def section(title):
    """The text below a heading."""
    return re.split(r"(?m)^## ", PAGE.partition(f"## {title}\n")[2])[0]


def test_the_page_lists_all_modules_that_moved_and_no_others():
    rows = re.findall(r"(?m)^\| `\.([\w.]+)` \| `\.([\w.]+)`", section("Names that moved"))
    assert dict(rows) == _moved.MOVED
    assert len(rows) == len(_moved.MOVED)


@pytest.mark.parametrize("name", re.findall(r"`(flwr_byzantine[\w.]*)`", section("What is public")))
def test_what_is_called_public_is_there(name):
    module = importlib.import_module(name)
    assert module.__all__
    for public in module.__all__:
        getattr(module, public)


@pytest.mark.parametrize(
    ("name", "keyword", "value"),
    [
        ("ByGARS", "normalize", True),
        ("ByGARSPlusPlus", "normalize", True),
        ("ByGARS", "forget_after", 1000),
        ("Phocas", "on_dropped", "keep_f"),
        ("Phocas", "cap_examples", False),
    ],
)
@pytest.mark.parametrize("api", ["flwr_byzantine", "flwr_byzantine.serverapp"])
def test_the_defaults_are_those_of_the_page(api, name, keyword, value):
    strategy = getattr(importlib.import_module(api), name)
    assert signature(strategy).parameters[keyword].default == value
    assert f"`{keyword}" in section("Defaults that changed") or f"{keyword}=" in PAGE


def test_an_old_name_warns_where_it_is_imported_and_names_the_new_one(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import flwr_byzantine\nfrom flwr_byzantine.shares import *\n")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"{script}:2: DeprecationWarning" in done.stderr
    assert "`flwr_byzantine.aggregation.kept_shares` now" in done.stderr
    assert "DeprecationWarning" in section("How something public goes away")
