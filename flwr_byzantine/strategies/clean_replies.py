"""Replies of the Message API with the rule's aggregate, and with nothing in them that does harm."""

import copy
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from flwr.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Error,
    Message,
    MetricRecord,
    RecordDict,
)
from flwr.common.constant import ErrorCode

from flwr_byzantine.aggregation.gate import Reply
from flwr_byzantine.aggregation.reports import harmless, median, median_metrics

K = TypeVar("K", bound=Hashable)
Kinds = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Form:
    """What most replies of a round look like.

    Parameters
    ----------
    arrays, metrics : str or None
        Names of their records; None where most have none.
    counted : bool
        Whether the number of examples is among the metrics.
    """

    arrays: str | None = "arrays"
    metrics: str | None = "metrics"
    counted: bool = True

    @classmethod
    def of(cls, replies: Iterable[Message], key: str) -> Self:
        """The form of most replies; ``key`` is that of the number of examples."""
        looks = [look for reply in replies if (look := _look(reply, key)) is not None]
        if not looks:
            return cls(None)
        arrays, metrics, counted = zip(*looks, strict=True)
        return cls(_most(arrays), _most(metrics), _most(counted))


def _look(reply: Message, key: str) -> tuple[str | None, str | None, bool] | None:
    """Names of the first records of arrays and metrics, and whether there is a number of examples."""
    try:
        content = reply.content
        metrics: Mapping[str, Any] = next(iter(content.metric_records.values()), {})
        arrays_name = next(iter(content.array_records), None)
        return arrays_name, next(iter(content.metric_records), None), key in metrics
    except Exception:  # an error, or something else in place of the records
        return None


def _most(values: Iterable[K]) -> K:
    return Counter(values).most_common(1)[0][0]


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
        Replies of nodes; each ``source`` is the message.
    key : str
        The metric that is the number of examples.
    form : Form
        Names of the records.
    arrays : ArrayRecord or None
        What stands in the place of each reply's arrays; each gets a record of its own, for some strategies
        take the arrays out. None leaves them out.
    cap_examples : bool
        Whether numbers of examples are cut to the median of the positive ones.
    positive : bool
        Whether a number of examples that cannot be a weight is the median of the positive ones, not 0.
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
    """Another record of the same bytes."""
    return ArrayRecord(
        {name: Array(a.dtype, a.shape, a.stype, a.data) for name, a in arrays.items()}
    )


def _configs(replies: Sequence[Message]) -> list[dict[str, ConfigRecord]]:
    """Each reply's records of configuration, where most have them, of the same keys and types.

    A reply that has them otherwise gets those of another one.
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
    return tuple(sorted((key, type(value).__name__) for key, value in record.items()))


def refusal(request: Message, reason: str) -> Message:
    """The error that stands in the place of a refused reply to a message."""
    return Message(Error(ErrorCode.UNKNOWN, reason), reply_to=request)
