"""The pages say about the study what its cells say."""

import importlib.util
from pathlib import Path

import pytest
from experiments import of_group

from simulations.report.claim import load_claims
from simulations.report.scoreboard import FAILS, judge
from simulations.report.view import Results

pytestmark = pytest.mark.torch

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = "docs/which-rule.md"


@pytest.fixture(scope="module")
def judged():
    """The verdicts of the report in ``docs/results/study``."""
    results = Results(of_group("study"), "quick", REPOSITORY / "docs" / "results" / "study")
    return judge(load_claims(), results)


def test_the_table_of_the_page_is_that_of_the_cells():
    path = REPOSITORY / "docs" / "_build" / "tables.py"
    spec = importlib.util.spec_from_file_location("tables", path)
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    text = (REPOSITORY / PAGE).read_text()
    assert tables.written(PAGE, text) == text, "run `make tables`"
    assert "not run" not in tables.page_evidence()


def test_every_claim_that_does_not_hold_has_its_cause_and_no_other_one(judged):
    failed = [one.claim.says for one in judged if one.verdict == FAILS]
    assert [one.claim.says for one in judged if one.claim.cause] == failed
