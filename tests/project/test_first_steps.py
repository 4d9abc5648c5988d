"""What README.md opens with does what it says; `make test-wheel` does the same with the wheel alone."""

import re
import sys
from pathlib import Path

import pytest
from first_steps import MOST, attack, processor_seconds

REPOSITORY = next(p for p in Path(__file__).resolve().parents if (p / "pyproject.toml").exists())
STRESS = re.compile(r"(?m)^ {4}pip install .*\n {4}flwr-byzantine stress ./my-flower-app ")


@pytest.mark.slow
def test_one_command_shows_an_app_broken_and_a_rule_that_holds(tmp_path):
    before = processor_seconds()
    printed = attack([sys.executable, "-m", "flwr_byzantine"], tmp_path)
    assert processor_seconds() - before < MOST
    assert "* is recommended" in printed
    assert {path.name for path in tmp_path.iterdir()} == {"my-flower-app", "stress"}


@pytest.mark.parametrize("page", ["README.md", "docs/stress.md"])
def test_pages_open_with_the_two_commands(page):
    text = (REPOSITORY / page).read_text()
    found = STRESS.search(text)
    assert found is not None
    assert text[: found.start()].count("\n") < 15
    assert "'flwr-byzantine[lab]'" in found[0]
