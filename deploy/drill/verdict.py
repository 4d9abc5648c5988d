"""What has to be true when a drill is over."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deploy.drill.processes import DrillError
from deploy.drill.scenario import OFFENDERS, Scenario
from flwr_byzantine.audit import NO_RESULT, REJECTED, AuditRecord

NAMED = 0.6  # the audit names a node if a larger share of its replies is rejected
CLEARED = 0.2  # the audit clears a node if a smaller share of its replies is rejected
ANSWERED = (
    0.75  # share of rounds with a result: on a busy machine too many replies can be late for one
)


@dataclass(frozen=True)
class Evidence:
    """The evidence that a drill leaves behind.

    Parameters
    ----------
    status : str
        What the SuperLink says about the run.
    healthy : bool
        Whether the SuperLink still answers.
    records : sequence of AuditRecord
        The audit.
    accuracy : str
        The accuracy after each round, in JSON.
    ids : mapping
        Name of each node -> the id with which its key was registered.
    sessions : mapping
        Name of each node -> the ids with which it was let in, one for each start.
    """

    status: str
    healthy: bool
    records: Sequence[AuditRecord]
    accuracy: str
    ids: Mapping[str, str]
    sessions: Mapping[str, Sequence[str]]


def judge(scenario: Scenario, evidence: Evidence) -> list[str]:
    """Check everything, and return the findings, one line each.

    Raises
    ------
    DrillError
        If a check fails. The text says which one.
    """
    findings = [
        _server(scenario, evidence),
        _model(scenario, evidence),
        *_offenders(scenario, evidence),
        *_identity(scenario, evidence),
    ]
    wrong = [line for good, line in findings if not good]
    if wrong:
        raise DrillError("; ".join(wrong))
    return [line for _, line in findings]


def _server(scenario: Scenario, evidence: Evidence) -> tuple[bool, str]:
    rounds = {record.round for record in evidence.records if record.verdict not in NO_RESULT}
    good = evidence.healthy and evidence.status == "finished:completed"
    good = good and len(rounds) >= ANSWERED * scenario.rounds
    health = "answers" if evidence.healthy else "does not answer"
    return good, (
        f"the server {health}, the run is {evidence.status}, {len(rounds)} of {scenario.rounds} rounds "
        "had a result"
    )


def _model(scenario: Scenario, evidence: Evidence) -> tuple[bool, str]:
    values = json.loads(evidence.accuracy)
    last = values.get(str(scenario.rounds), 0.0)
    text = f"accuracy {values.get('0', 0.0):.3f} before, {last:.3f} after training"
    return last >= scenario.accuracy, f"{text}, at least {scenario.accuracy} wanted"


def _offenders(scenario: Scenario, evidence: Evidence) -> list[tuple[bool, str]]:
    findings = []
    for name, role in scenario.nodes.items():
        own = [r for r in evidence.records if r.client == evidence.ids[name]]
        own = [r for r in own if r.verdict not in NO_RESULT]
        rejected = sum(r.verdict in REJECTED for r in own)
        rate = rejected / len(own) if own else 0.0
        good = bool(own) and (rate > NAMED if role in OFFENDERS else rate < CLEARED)
        if role == "malformed":
            good = good and all(r.verdict == "dropped" and r.reason for r in own)
        findings.append((good, f"{name} ({role}): {rejected} of {len(own)} replies rejected"))
    return findings


def _identity(scenario: Scenario, evidence: Evidence) -> list[tuple[bool, str]]:
    """Check that nodes that were away came back with their own ids, and that the audit follows them."""
    strangers = {record.client for record in evidence.records} - set(evidence.ids.values())
    findings = [(not strangers, f"{len(strangers)} replies of nodes that nobody registered")]
    for name in filter(None, (scenario.terminated, scenario.killed, scenario.frozen)):
        own = evidence.ids[name]
        records = [record for record in evidence.records if record.client == own]
        rounds = sorted(record.round for record in records if record.verdict != "failed")
        gone = [r for r in range(1, scenario.rounds + 1) if r not in rounds]
        back = bool(gone) and rounds[:1] < gone[:1] and gone[-1] < rounds[-1]
        same = set(evidence.sessions[name]) == {own}
        starts = len(evidence.sessions[name])
        often = "once" if starts == 1 else f"{starts} times"
        findings.append(
            (
                back and same,
                f"{name} was let in {often}, always as {own}; absent in rounds {gone}",
            )
        )
    return findings
