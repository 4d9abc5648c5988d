"""Clean replies of the Message API: they hold the rule's aggregate, and medians of the metrics."""

import copy
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any, Self

from flwr.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Error,
    Message,
    MetricRecord,
    RecordDict,
)
from flwr.app.message import make_message

from flwr_byzantine.aggregation.gate import Reply
from flwr_byzantine.aggregation.npy import clip
from flwr_byzantine.aggregation.reports import harmless, median, median_metrics

Look = tuple[str | None, str | None, bool]
Votes = dict[Look, int]
Kinds = frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Form:
    """The form of most replies of a round.

    Parameters
    ----------
    arrays, metrics : str or None
        The names of their records; None if most replies have no such record.
    counted : bool
        Whether the number of examples is among the metrics.
    """

    arrays: str | None = "arrays"
    metrics: str | None = "metrics"
    counted: bool = True

    @classmethod
    def of(
        cls, replies: Iterable[Message], key: str, votes: Votes | None = None, enough: int = 0
    ) -> Self:
        """The form of most replies.

        Parameters
        ----------
        replies : Iterable[Message]
            The replies of a round.
        key : str
            The metric that is the number of examples.
        votes : Votes or None
            The counts of earlier rounds. Those of this round are added to them.
        enough : int
            From this number of replies on, a round decides alone. With fewer replies, earlier rounds count
            too, because most of a few replies may come from attackers. If two forms are equally frequent,
            Flower's own form is taken.
        """
        votes = {} if votes is None else votes
        looks = [look for reply in replies if (look := _look(reply, key)) is not None]
        if len(looks) >= enough:
            votes.clear()
        for look in looks:
            votes[look] = votes.get(look, 0) + 1
        if not votes:
            return cls(None)
        return cls(*(_most(votes, part, usual) for part, usual in enumerate(astuple(cls()))))


def _look(reply: Message, key: str) -> Look | None:
    """The names of the first records of arrays and metrics, and whether there is a number of examples."""
    try:
        content = reply.content
        metrics: Mapping[str, Any] = next(iter(content.metric_records.values()), {})
        arrays_name = next(iter(content.array_records), None)
        return arrays_name, next(iter(content.metric_records), None), key in metrics
    except Exception:  # an error, or something else in place of the records
        return None


def _most(votes: Votes, part: int, usual: Any) -> Any:
    counts = {usual: 0}
    for look, number in votes.items():
        counts[look[part]] = counts.get(look[part], 0) + number
    return max(counts, key=counts.__getitem__)


def clean_replies(
    accepted: Sequence[Reply],
    key: str,
    form: Form,
    arrays: ArrayRecord | None = None,
    *,
    cap_examples: bool = False,
    positive: bool = False,
) -> list[Message]:
    """A message for each accepted reply, with the given arrays, and medians of the metrics.

    Parameters
    ----------
    accepted : Sequence[Reply]
        The replies of nodes. Each ``source`` is the message.
    key : str
        The metric that is the number of examples.
    form : Form
        The names of the records.
    arrays : ArrayRecord or None
        The arrays that replace those of each reply. Each reply gets a new record, because some strategies
        remove the arrays from it. None leaves the arrays out.
    cap_examples : bool
        Whether numbers of examples are cut to the median of the positive numbers.
    positive : bool
        Whether a number of examples that cannot be a weight becomes the median of the positive numbers. If
        not, it becomes 0.
    """
    medians: dict[str, Any] = median_metrics([r.metrics for r in accepted], leave_out=[key])
    counts = harmless([reply.num_examples for reply in accepted], cap_examples)
    if positive:
        usual = median(count for count in counts if count > 0)
        counts = [count if count > 0 else usual for count in counts]
    clean = []
    configs = _configs([reply.source for reply in accepted])
    for reply, count, config in zip(accepted, counts, configs, strict=True):
        records: dict[str, Any] = {}
        if arrays is not None:
            records[form.arrays or "arrays"] = own_record(arrays)
        if form.metrics is not None:
            counted = {key: count} if form.counted else {}
            records[form.metrics] = MetricRecord({**medians, **counted})
        clean.append(copy.copy(reply.source))
        clean[-1].content = RecordDict({**config, **records})
    return clean


def own_record(arrays: ArrayRecord) -> ArrayRecord:
    """A new record with the same bytes."""
    return ArrayRecord(
        {name: Array(a.dtype, a.shape, a.stype, a.data) for name, a in arrays.items()}
    )


def _configs(replies: Sequence[Message]) -> list[dict[str, ConfigRecord]]:
    """The configuration records of each reply, if most replies have them with the same keys and types.

    A reply with other configuration records gets those of another reply.
    """
    sent = [dict(reply.content.config_records) for reply in replies]
    kinds = [{name: _kinds(record) for name, record in records.items()} for records in sent]
    counts = Counter((name, kind) for reply in kinds for name, kind in reply.items())
    usual = {
        name: (kind, next(r[name] for r, k in zip(sent, kinds, strict=True) if k.get(name) == kind))
        for (name, kind), count in counts.items()
        if 2 * count > len(replies)
    }
    return [
        {
            name: own[name] if kind.get(name) == expected else ConfigRecord(dict(other.items()))
            for name, (expected, other) in usual.items()
        }
        for own, kind in zip(sent, kinds, strict=True)
    ]


def _kinds(record: ConfigRecord) -> Kinds:
    return frozenset((key, _kind(value)) for key, value in record.items())


def _kind(value: Any) -> str:
    inside = {type(part).__name__ for part in value} if isinstance(value, list) else ()
    return " ".join([type(value).__name__, *sorted(inside)])


def refusal(reply: Message, error: Error) -> Message:
    """The error that replaces a reply."""
    return make_message(reply.metadata, error=error)


def unasked(sent: Iterable[Message], replies: Iterable[Message]) -> list[str | None]:
    """For each reply, why it does not answer what was sent; None if it does."""
    asked = {(str(m.metadata.dst_node_id), m.metadata.message_type) for m in sent}
    told = [(str(m.metadata.src_node_id), m.metadata.message_type) for m in replies]
    return [
        None if one in asked else f"not asked for a message of type {clip(one[1], 40)!r}"
        for one in told
    ]
