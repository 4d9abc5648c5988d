"""The claims about this repository's results: each one that does not hold states a cause."""

from pathlib import Path

import pytest
from experiments import of_group

from simulations.report.claim import load_claims
from simulations.report.scoreboard import FAILS, HOLDS, judge
from simulations.report.view import Results

pytestmark = pytest.mark.torch

KEPT = Path(__file__).resolve().parents[2] / "docs" / "results"


@pytest.fixture(scope="module")
def judged():
    """The verdicts of the report in ``docs/results/reproduction``."""
    bench = KEPT / "benchmark" / "bench.json"
    results = Results(of_group("papers"), "quick", KEPT / "reproduction", bench)
    return judge(load_claims(), results)


def test_no_claim_that_holds_has_a_cause(judged):
    assert [one.claim.says for one in judged if one.verdict == HOLDS and one.claim.cause] == []


def test_every_claim_that_does_not_hold_has_its_cause(judged):
    assert [one.claim.says for one in judged if one.verdict == FAILS and not one.claim.cause] == []
