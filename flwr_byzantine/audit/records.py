"""What became of one client's reply in one round."""

import json
import math
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from flwr_byzantine.checks import is_number, is_whole

REJECTED = ("trimmed", "not selected", "dropped")
VERDICTS = ("kept", *REJECTED, "skipped", "failed")
NO_RESULT = ("skipped", "failed")  # verdicts that say nothing of an update


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
        ``"kept"``; ``"trimmed"``: a coordinate-wise rule used the client's values in less than half
        as many coordinates as those of the average client; ``"not selected"``: a rule that selects
        whole updates left it out; ``"dropped"``: malformed, and refused before the rule saw it;
        ``"skipped"``: the round had no result, whatever this client sent; or ``"failed"``: it was asked,
        and answered with an error or not at all.
    score : float or None
        What a selecting rule went by, such as the Krum score: lower is better.
    share : float or None
        Weight of the client's update in the result, or for a coordinate-wise rule the fraction of a
        sample of the coordinates (``flwr_byzantine.aggregation.kept_shares.SAMPLE``) in which its value
        was used.
    reason : str or None
        Why the reply was dropped or the round skipped, or how the client failed.
    run_id : str or None
        Which start of the run this belongs to: a random word, another one each time a run starts or is
        resumed. None for what was written without. Records are compared without it.
    seed : int or None
        What the round's rule drew from the operating system's entropy, such as the permutation of
        `Bucketing`: with this seed the round can be replayed. None where it drew nothing.
    """

    round: int
    client: str
    verdict: str
    score: float | None = None
    share: float | None = None
    reason: str | None = None
    run_id: str | None = field(default=None, compare=False)
    seed: int | None = None

    def to_json(self) -> str:
        """One line of valid JSON; a number that is not finite is null."""
        values = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in asdict(self).items()
        }
        return json.dumps(values, allow_nan=False)

    @classmethod
    def from_json(cls, line: str) -> "AuditRecord":
        """Read what :meth:`to_json` wrote; ValueError if it is something else.

        What cannot be printed is stripped from its texts: a file can be anybody's, and control
        characters can change what a terminal shows.
        """
        values: Any = json.loads(line)
        known = {field.name for field in fields(cls)}
        if not isinstance(values, dict) or {"run_id": None, "seed": None, **values}.keys() != known:
            raise ValueError(f"keys other than {sorted(known)}")
        if not is_whole(values["round"]) or not isinstance(values["client"], str):
            raise ValueError(f"round {values['round']!r}, client {values['client']!r}")
        if values["verdict"] not in VERDICTS:
            raise ValueError(f"verdict {values['verdict']!r}")
        for name in ("score", "share"):
            if not (values[name] is None or is_number(values[name])):
                raise ValueError(f"{name} {values[name]!r}")
        if not (values.get("seed") is None or is_whole(values["seed"])):
            raise ValueError(f"seed {values['seed']!r}")
        for name in ("client", "reason", "run_id"):
            text = values.get(name)
            if text is not None:
                values[name] = _printable(text)
        return cls(**values)


def _printable(text: object) -> str:
    """A text without control characters and what else cannot be printed; ValueError if it is none."""
    if not isinstance(text, str):
        raise ValueError(f"text {text!r}")
    return "".join(character for character in text if character.isprintable())
