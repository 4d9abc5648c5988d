"""The attacks as a client mod, for apps of the Message API without a NumPyClient."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from inspect import signature
from logging import WARNING
from typing import Any, cast

from flwr.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Context,
    Message,
    MetricRecord,
    RecordDict,
)
from flwr.client import NumPyClient
from flwr.clientapp.typing import ClientAppCallable, Mod
from flwr.common.logger import log

from flwr_byzantine.attacks.base import require
from flwr_byzantine.clients.arrays import Arrays
from flwr_byzantine.clients.kinds import is_attack
from flwr_byzantine.clients.wrapper import Config, FitReply

EXAMPLES = "num-examples"
PARTITION_KEYS = ("partition-id", "partition_id")
MakeHonest = Callable[..., NumPyClient]


def attack_mod(wrap: Callable[..., NumPyClient]) -> Mod:
    """Return a mod that lets the clients of a ``ClientApp`` misbehave like NumPyClients.

    The mod presents the app as a NumPyClient, and any wrapper of this package goes around it. A
    node's number is its ``partition-id``. Without one it is its node id, with a warning. Attackers
    that know others run the app in place of those others, and need partition-ids for it. The app should
    then choose its data by the partition-id, and take nothing from ``context.state``.

    Parameters
    ----------
    wrap : callable
        ``wrap(make_honest, client_id)`` returns the client of a node. ``make_honest(i)`` is the app as the
        honest client i, so an honest node is ``make_honest(client_id)``. If the function has a parameter
        ``context``, it is called as ``wrap(make_honest, client_id, context=context)`` with the node's
        context. Pass this on to the wrapper if the attack has a memory.

    Returns
    -------
    Mod
        A mod for ``ClientApp(mods=[...])`` or ``@app.train(mods=[...])``. Messages that are not for training
        pass through. Answers that a wrapper did not change pass through unchanged.

    Notes
    -----
    A mod cannot reach the data. To poison data, call `LabelFlip`, `RandomLabels` or `Backdoor` where the app
    loads its data, on the nodes that you choose. ``make_honest`` is another function for each message, so
    give `OmniscientClient` and `ColludingClient` a ``scope``.

    Examples
    --------
    >>> from flwr_byzantine.clients import MaliciousClient
    >>> from flwr.clientapp import ClientApp
    >>> from flwr_byzantine.attacks import SignFlip
    >>> def wrap(make_honest, client_id):
    ...     honest = make_honest(client_id)
    ...     return MaliciousClient(honest, SignFlip()) if client_id < 2 else honest
    >>> app = ClientApp(mods=[attack_mod(wrap)])
    """
    advice = "Pass a function `wrap(make_honest, client_id)` that returns the client of a node."
    is_function = callable(wrap) and not is_attack(wrap)
    require(is_function, "wrap", "a function that returns a client", wrap, advice)
    told = "context" in signature(wrap).parameters

    def mod(msg: Message, ctxt: Context, call_next: ClientAppCallable) -> Message:
        if msg.metadata.message_type.split(".")[0] != "train":
            return call_next(msg, ctxt)
        client_id = _number_of(ctxt)
        own: list[_AppClient] = []

        def make_honest(
            number: int, label_map: object = None, poison: object = None
        ) -> NumPyClient:
            for name, given in (("label_map", label_map), ("poison", poison)):
                advice = (
                    "A mod cannot reach the data. Call the attack where the app loads its data."
                )
                require(given is None, name, "None for a mod", given, advice)
            context = ctxt if number == client_id else _in_place_of(number, ctxt)
            client = _AppClient(msg, context, call_next)
            if number == client_id:
                own.append(client)
            return client

        arrays = next(iter(msg.content.array_records.values()))
        config = next(iter(msg.content.config_records.values()), ConfigRecord())
        named = {"context": ctxt} if told else {}
        try:
            sent = wrap(make_honest, client_id, **named).fit(
                arrays.to_numpy_ndarrays(), _plain(config)
            )
        except _ErrorReplyError as error:
            return error.reply
        replies = [client.replies[-1] for client in own if client.replies]
        for reply, answer in replies:
            if answer is sent:
                return reply
        return _with_answer(replies[0][0] if replies else _reply_to(msg), sent)

    return mod


def _number_of(ctxt: Context) -> int:
    """Return the number of a node: its partition-id, or else its node id."""
    for key in PARTITION_KEYS:
        if key in ctxt.node_config:
            return int(ctxt.node_config[key])
    text = "The node has no `partition-id`, so the mod takes its node id, %s, as its number"
    log(WARNING, text, ctxt.node_id)
    return ctxt.node_id


def _in_place_of(number: int, ctxt: Context) -> Context:
    """Return a context like a node's own, with another number and no state."""
    other = {key: number for key in PARTITION_KEYS if key in ctxt.node_config}
    require(
        bool(other),
        "node_config",
        "a node config with a `partition-id`, for an attack that knows other nodes",
        dict(ctxt.node_config),
        "Start the nodes with `partition-id=0`, 1 and so on, or choose an attack of the own update.",
    )
    node_config = {**ctxt.node_config, **other}
    return Context(ctxt.run_id, ctxt.node_id, node_config, RecordDict(), ctxt.run_config)


def _reply_to(msg: Message) -> Message:
    """Return a reply for a wrapper that did not ask the app, with the names of the received tensors."""
    key, arrays = next(iter(msg.content.array_records.items()))
    content = RecordDict({key: ArrayRecord(dict(arrays.items())), "metrics": MetricRecord()})
    return Message(content, reply_to=msg)


class _ErrorReplyError(Exception):
    """The app answered with an error."""

    def __init__(self, reply: Message) -> None:
        super().__init__(str(reply.error))
        self.reply = reply


class _AppClient(NumPyClient):
    """The app in place of one node, as a NumPyClient."""

    def __init__(self, msg: Message, ctxt: Context, call_next: ClientAppCallable) -> None:
        self.msg = msg
        self.ctxt = ctxt
        self.call_next = call_next
        self.replies: list[tuple[Message, FitReply]] = []

    def fit(self, parameters: Arrays, config: Config) -> FitReply:
        """Ask the app to train, and return its answer as a NumPyClient would."""
        reply = self.call_next(self._message(parameters, config), self.ctxt)
        if reply.has_error():
            raise _ErrorReplyError(reply)
        arrays = next(iter(reply.content.array_records.values())).to_numpy_ndarrays()
        metrics: dict[str, Any] = dict(next(iter(reply.content.metric_records.values()), {}))
        answer: FitReply = (arrays, cast(int, metrics.pop(EXAMPLES, 0)), metrics)
        self.replies.append((reply, answer))
        return answer

    def _message(self, parameters: Arrays, config: Config) -> Message:
        """Return the server's message with this content, because the app may change the content."""
        content = RecordDict(dict(self.msg.content.items()))
        key, names = next(iter(content.array_records.items()))
        content[key] = ArrayRecord(dict(zip(names, map(Array, parameters), strict=True)))
        for name in list(content.config_records)[:1]:
            content[name] = ConfigRecord(cast(dict[str, Any], config))
        msg = copy(self.msg)
        msg.content = content
        return msg


def _plain(config: ConfigRecord) -> Config:
    """Return the configuration as a NumPyClient gets it. Lists are kept, although that API has none."""
    return cast(Config, dict(config.items()))


def _with_answer(reply: Message, sent: FitReply) -> Message:
    """Return the app's reply with these tensors and this number of examples in it."""
    arrays, num_examples, _ = sent
    content = RecordDict(dict(reply.content.items()))
    key, names = next(iter(content.array_records.items()))
    named = [
        *names,
        *map(str, range(len(names), len(arrays))),
    ]  # a wrapper may send more tensors, or fewer
    content[key] = ArrayRecord(dict(zip(named, map(Array, arrays), strict=False)))
    for name, metrics in list(content.metric_records.items())[:1]:
        content[name] = MetricRecord({**metrics, EXAMPLES: num_examples})
    reply.content = content
    return reply
