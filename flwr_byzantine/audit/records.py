"""What became of one client's reply in one round."""

import json
import math
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from flwr_byzantine.checks import is_number, is_whole

REJECTED = ("trimmed", "not selected", "dropped", "quarantined")
VERDICTS = ("kept", *REJECTED, "skipped", "failed")  # in the order of tables
LATER = ("run_id", "seed", "used", "size", "stands_out", "suspect", "name")
NO_RESULT = ("skipped", "failed")  # verdicts that say nothing about an update


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """What became of one client's reply in one round.

    Parameters
    ----------
    round : int
        The server's round.
    client : str
        The server's own name of the client.
    verdict : str
        One of these. ``"kept"``: the rule used the reply. ``"trimmed"``: a rule by coordinate used the
        client's values in less than half as many coordinates as those of the average client.
        ``"not selected"``: a rule that selects whole updates left this one out. ``"dropped"``: the reply is
        malformed, and the rule did not see it. ``"quarantined"``: the client is a suspect, and
        ``quarantine=True`` left it out. ``"skipped"``: the round had no result, whatever this client sent.
        ``"failed"``: the client was asked, and answered with an error or not at all.
    score : float or None
        The score by which a rule selects, such as the Krum score. A lower score is better.
    share : float or None
        The weight of the client's update in the result. For a rule by coordinate, it is the fraction of a
        sample of the coordinates (``flwr_byzantine.aggregation.kept_shares.SAMPLE``) in which the client's
        value was used.
    reason : str or None
        Why the reply was dropped or the round skipped, or how the client failed.
    run_id : str or None
        The start of the run to which the record belongs: a random word, which is new each time a run starts
        or is resumed. None if the record was written without one. Comparisons of records ignore it.
    seed : int or None
        The seed that the round's rule drew from the operating system's entropy, such as for the
        permutation of `Bucketing`. With this seed you can repeat the round. None if it drew
        nothing.
    used : float or None
        The client's part of the result. The parts of a round add up to 1. Clients that sent the
        same update share its part. For a rule by coordinate, the part is counted on a sample of the
        coordinates, which is drawn anew in every round. It only says what the rule used. It is no evidence
        against a client.
    size : float or None
        The size of this update, as a multiple of the usual one of the round. None if it was not
        measured, or is not finite.
    stands_out : str or None
        Why the client stands out in this round; None if it does not.
    suspect : bool
        Whether the client is a suspect after the round: :mod:`flwr_byzantine.audit.suspicion`.
    name : str or None
        What people call the client.
    """

    round: int
    client: str
    verdict: str
    score: float | None = None
    share: float | None = None
    reason: str | None = None
    run_id: str | None = field(default=None, compare=False)
    seed: int | None = None
    used: float | None = None
    size: float | None = None
    stands_out: str | None = None
    suspect: bool = False
    name: str | None = None

    def to_json(self) -> str:
        """Return one line of valid JSON. A number that is not finite becomes null."""
        values = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in asdict(self).items()
        }
        return json.dumps(values, allow_nan=False)

    @classmethod
    def from_json(cls, line: str) -> "AuditRecord":
        """Read what :meth:`to_json` wrote. Raise ValueError if it is something else.

        Characters that cannot be printed are removed from texts. Anybody may have written the file, and
        control characters can change what a terminal shows.
        """
        values: Any = json.loads(line)
        known = {field.name for field in fields(cls)}
        later = dict.fromkeys(LATER)  # earlier versions did not write these keys
        if not isinstance(values, dict) or {**later, **values}.keys() != known:
            raise ValueError(f"keys other than {sorted(known)}")
        if not is_whole(values["round"]) or not isinstance(values["client"], str):
            raise ValueError(f"round {values['round']!r}, client {values['client']!r}")
        if values["verdict"] not in VERDICTS:
            raise ValueError(f"verdict {values['verdict']!r}")
        for name in ("score", "share", "used", "size"):
            if not (values.get(name) is None or is_number(values[name])):
                raise ValueError(f"{name} {values[name]!r}")
        if not (values.get("seed") is None or is_whole(values["seed"])):
            raise ValueError(f"seed {values['seed']!r}")
        if not isinstance(values.get("suspect", False), bool):
            raise ValueError(f"suspect {values['suspect']!r}")
        for name in ("client", "reason", "run_id", "stands_out", "name"):
            text = values.get(name)
            if text is not None:
                values[name] = _printable(text)
        return cls(**values)


def _printable(text: object) -> str:
    """A text without characters that cannot be printed. Raise ValueError if the value is no text."""
    if not isinstance(text, str):
        raise ValueError(f"text {text!r}")
    return "".join(character for character in text if character.isprintable())
