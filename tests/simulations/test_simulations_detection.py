"""What a run records about the detection of attackers."""

from types import SimpleNamespace

import pytest

from flwr_byzantine.audit import AuditRecord
from simulations.config import RunConfig
from simulations.measure.detection import detection, verdicts

pytestmark = pytest.mark.torch

CONFIG = RunConfig(rule="krum", attack="gaussian", clients=5, byzantine=1, attack_start=2)
STRATEGY = SimpleNamespace(
    audit=(
        AuditRecord(1, "a", "dropped"),
        AuditRecord(2, "a", "kept"),
        AuditRecord(2, "b", "not selected"),
        AuditRecord(2, "c", "trimmed"),
    )
)


def test_verdicts_are_those_of_the_round_by_number_of_the_client():
    partitions = {"a": 2, "b": 0, "c": 4}
    assert verdicts(STRATEGY, CONFIG, 2, partitions) == {
        "answered": [0, 2, 4],
        "byzantine": [0],
        "rejected": [0, 4],
        "used": [None] * 5,
    }


def test_nobody_is_byzantine_before_the_attack_starts():
    assert verdicts(SimpleNamespace(audit=()), CONFIG, 1, {})["byzantine"] == []


def test_a_strategy_without_an_audit_says_nothing():
    assert verdicts(object(), CONFIG, 1, {}) == {}
    assert detection(CONFIG, [{"round": 1}]) == {"precision": None, "recall": None}


def test_rounds_without_a_result_do_not_count():
    rounds = [
        {"round": 1, "byzantine": [0], "rejected": [0, 3], "skipped": 0},
        {"round": 2, "byzantine": [1], "rejected": [2, 3], "skipped": 1},
        {"round": 3, "byzantine": [1], "rejected": [0], "skipped": 0},
    ]
    assert detection(CONFIG, rounds) == {"precision": 1 / 3, "recall": 1 / 2}
