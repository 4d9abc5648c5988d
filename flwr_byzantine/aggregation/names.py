"""What people call the nodes: the name with which a key was registered, or a name that a node reports."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from flwr_byzantine.aggregation.gate import Reply
from flwr_byzantine.aggregation.npy import clip
from flwr_byzantine.checks import wrong

NodeNames = Mapping[str, str] | Mapping[int, str] | str | None

USUAL = "partition-id"  # what nodes of a simulation report
_LONGEST = 60


def check_names(names: Any) -> dict[str, str] | str | None:
    """The names by the server's own ids, or the metric that holds the name.

    Parameters
    ----------
    names : Mapping, str or None
        Node id -> name, or the key of a metric that nodes report, such as an entry of their node
        config. A metric is only what a node claims. None takes the names with which the keys of nodes
        were registered. If Flower does not tell these names, it takes the metric ``partition-id``.

    Raises
    ------
    ParameterError
        If it is something else.
    """
    if names is None or isinstance(names, str):
        return names
    advice = "Pass `{4711: 'north hospital'}`, or the key of a metric that nodes report."
    expected = "names by node id, the key of a metric, or None"
    if not isinstance(names, Mapping):
        raise wrong("node_names", expected, names, advice)
    for node, name in names.items():
        known = isinstance(node, str | int | np.integer) and not isinstance(node, bool)
        if not known or not isinstance(name, str):
            raise wrong("node_names", expected, names, advice, found=f"`{node!r}: {name!r}`")
    return {str(node): shown(name) for node, name in names.items()}


def shown(name: object) -> str:
    """A name in one short line, without what cannot be printed."""
    text = "".join(character for character in str(name) if character.isprintable())
    return clip(text, _LONGEST)


def registered_names(nodes: Iterable[Any]) -> dict[str, str]:
    """Node id -> the name with which its key was registered, from what Flower's grid says about nodes."""
    found = {}
    for node in nodes:
        name = getattr(node, "name", "")
        if isinstance(name, str) and name:
            found[str(node.node_id)] = shown(name)
    return found


def name_of(
    client: str,
    names: Mapping[str, str] | str | None,
    registered: Mapping[str, str],
    reply: Reply | None,
) -> str | None:
    """What people call a client. A name that the client reports is shown behind the metric's key."""
    if isinstance(names, Mapping) and client in names:
        return names[client]
    if client in registered:
        return registered[client]
    key = names if isinstance(names, str) else USUAL
    try:
        told = None if reply is None else reply.metrics.get(key)
        if not isinstance(told, str | int | float) or isinstance(told, bool):
            return None
        return f"{key} {shown(_plain(told))}"
    except Exception:  # something else in place of the metrics
        return None


def _plain(told: str | int | float) -> str | int | float:
    """3 in place of 3.0, because Flower's averages turn whole numbers into floats."""
    return int(told) if isinstance(told, float) and told.is_integer() else told
