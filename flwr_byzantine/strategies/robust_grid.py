"""``RobustGrid`` puts a rule between any app of the Message API and its nodes."""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from logging import WARNING
from typing import Any, ClassVar, Unpack

import numpy as np
from flwr.app import ArrayRecord, Error, Message
from flwr.common.constant import ErrorCode
from flwr.common.logger import log
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from flwr_byzantine.aggregation.aggregator import PAYLOADS, Aggregator
from flwr_byzantine.aggregation.gate import Model, Reply, gate_reports
from flwr_byzantine.checks import require, require_choice, wrong
from flwr_byzantine.rules.base import Rule
from flwr_byzantine.strategies.base import RobustStrategy
from flwr_byzantine.strategies.clean_replies import Form, Votes, clean_replies, refusal, unasked
from flwr_byzantine.strategies.failures import Asked, failed_nodes, log_missing
from flwr_byzantine.strategies.given_model import (
    check_number,
    given_to_all,
    in_dtypes_of,
    read_given,
    round_after,
)
from flwr_byzantine.strategies.hosts import callers, check_wrapped
from flwr_byzantine.strategies.options import (
    SharedOptions,
    full_signature,
    refuse_other_words,
)
from flwr_byzantine.strategies.passing_grid import PassingGrid, kind_of_message
from flwr_byzantine.strategies.records import read_messages, write_record
from flwr_byzantine.strategies.words import MESSAGE_API

WORDS = replace(MESSAGE_API, first_model="arrays")


class RobustGrid(PassingGrid, RobustStrategy):
    """Puts a robust rule between any app of the Message API and its nodes.

    The app sends its messages through this grid: ``grid = RobustGrid(grid, rule=Phocas(2))``. Nothing
    else in the app changes, whatever strategy or loop it has. In place of each accepted reply, the app
    sees a clean one. After training, a clean reply holds the rule's aggregate. So an app that averages
    the replies gets the aggregate. A refused reply becomes an error of its node.

    Parameters
    ----------
    grid : flwr.serverapp.Grid
        The grid that the app's main function is given.
    rule : flwr_byzantine.rules.Rule
        The aggregation rule.
    payload : str
        With ``"parameters"`` nodes reply with models. With ``"gradients"`` they reply with gradients, or with
        differences from the model, and the app gets the aggregate of these.
    weighted_by_key : str
        The metric that is a node's number of examples, if nodes report one.
    **options
        The keywords that this library adds in :class:`RobustFedAvg`, without ``learning_rate``.
        ``checkpoint`` keeps what the rule remembers. The app has to keep its model and its rounds
        itself.

    Raises
    ------
    ValueError
        If a parameter is out of range. ``send_and_receive`` raises it if training messages of one call hold
        different arrays or no arrays, or if the grid cannot serve the strategy that sends them, such as one
        for differential privacy. ``push_messages`` raises it for training and evaluation.
    TooFewUpdatesError
        From ``send_and_receive``, if a round has no result and ``on_too_few`` is ``"raise"``.

    Notes
    -----
    Metrics are medians of what nodes report, under the keys that most of them report. Numbers of
    examples are those that nodes sent. A number that is not positive and below 2**63 becomes the median
    of the others. In a round without a robust result, the app gets back the model that it sent.

    One grid handles one model. An app that trains several models sends each through its own grid.
    """

    words = WORDS
    _api = "Grid"
    _round = 0
    _host: Any = None  # the last strategy that was checked
    _told_of_arrays = False
    __signature__: ClassVar[inspect.Signature]

    def __init__(
        self,
        grid: Grid,
        rule: Rule,
        *,
        weighted_by_key: str = "num-examples",
        **options: Unpack[SharedOptions],
    ) -> None:
        advice = "One rule is enough. `>>` puts a pre-aggregation in front of it."
        require(not isinstance(grid, RobustGrid), "grid", "a grid without a rule", grid, advice)
        is_text = isinstance(weighted_by_key, str)
        advice = "Name the metric that is the number of examples."
        require(is_text, "weighted_by_key", "a text", weighted_by_key, advice)
        refuse_other_words(type(self), options)
        for name in options:
            if name not in inspect.get_annotations(SharedOptions):
                instead = ": the app applies what comes back" if name == "learning_rate" else ""
                raise TypeError(
                    f"RobustGrid() got an unexpected keyword argument {name!r}{instead}"
                )
        self.weighted_by_key = weighted_by_key
        self._votes: dict[bool, Votes] = {True: {}, False: {}}
        super().__init__(grid, rule=rule, **options)

    def _make_aggregator(self, rule: Rule, **settings: Any) -> Aggregator:
        """An aggregator of what nodes send. It does not apply gradients to a model."""
        require_choice("payload", settings["payload"], PAYLOADS, "Name what your nodes send.")
        self.payload = settings["payload"]
        return super()._make_aggregator(rule, **settings | {"payload": "parameters"})

    @property
    def metrics(self) -> dict[str, int | float]:
        """What became of the replies of the last training, under names that begin with ``byzantine/``."""
        last = self.aggregator.last
        return {} if last is None else last.metrics

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Send messages and return the replies: clean ones after training and evaluating.

        Parameters
        ----------
        messages : Iterable[flwr.app.Message]
            All messages for training hold the same model.
        timeout : float or None
            How many seconds to wait for replies. None sets no limit.

        Returns
        -------
        Iterable[flwr.app.Message]
            The replies in the order in which they came.
        """
        sent: dict[str, list[Message]] = {"train": [], "evaluate": [], "other": []}
        for message in messages:
            kind = kind_of_message(message)
            sent[kind if kind in sent else "other"].append(message)
        replies: list[Message] = []
        if sent["train"]:
            replies += self._train(sent["train"], timeout)
        if sent["evaluate"]:
            replies += self._evaluate(sent["evaluate"], timeout)
        if sent["other"] or not (sent["train"] or sent["evaluate"]):
            replies += self.grid.send_and_receive(sent["other"], timeout=timeout)
        return replies

    def _train(self, sent: Sequence[Message], timeout: float | None) -> list[Message]:
        self._look_at_host()
        given = given_to_all(sent)
        start = read_given(given)
        if self.aggregator.bound != "warn":
            check_number(sent, self.rule)
        with self.aggregator.lock:  # threads may send at once
            if not self._begun and (found := self._resume()) is not None:
                self._round = found.server_round
            self._round = server_round = round_after(self._round, sent[0])
            if self.payload == "gradients":
                start = Model(start.names, tuple(map(np.zeros_like, start.arrays)))
            self.aggregator.begin(server_round, start)
        asked = Asked.nodes(server_round, sent)
        self.aggregator.watch.learn_names(self.grid, asked.clients)
        self._note_asked(server_round, len(sent))
        received = list(self.grid.send_and_receive(sent, timeout=timeout))
        failed = self._failed(asked, received)
        with self.aggregator.lock:
            form, replies = self._read(sent, received, trained=True)
            start = in_dtypes_of(replies, start)
            self.aggregator.begin(server_round, start)
            outcome = self.aggregator.aggregate(server_round, replies, failed)
            self._save(server_round, {})
        arrays = given
        if outcome.model is not None or self.payload == "gradients":
            arrays = write_record(start if outcome.model is None else outcome.model)
        return self._clean(received, outcome.accepted, outcome.refused, form, arrays)

    def _evaluate(self, sent: Sequence[Message], timeout: float | None) -> list[Message]:
        asked = Asked.nodes(self._round, sent)
        received = list(self.grid.send_and_receive(sent, timeout=timeout))
        form, replies = self._read(sent, received, trained=False)
        if form.arrays is not None and received and not self._told_of_arrays:
            self._told_of_arrays = True
            text = "Replies to evaluation hold arrays. No rule checks them, so they are left out"
            log(WARNING, text)
        accepted, dropped = gate_reports(replies)
        log_missing(self._round, self._failed(asked, received), dropped, "node")
        return self._clean(received, accepted, dropped, form)

    def _failed(self, asked: Asked, received: Sequence[Message]) -> dict[str, str]:
        """The nodes that were asked and failed, and why, even if other nodes sent replies."""
        nodes = {*asked.clients}
        theirs = [m for m in received if m.has_error() or str(m.metadata.src_node_id) in nodes]
        return failed_nodes(asked, asked.server_round, theirs)

    def _read(
        self, sent: Sequence[Message], received: Sequence[Message], trained: bool
    ) -> tuple[Form, list[Reply]]:
        """The form of most replies, and the replies. A reply with another form holds a reason."""
        pairs = zip(received, unasked(sent, received), strict=True)
        wrong_ones = {id(message): reason for message, reason in pairs if reason is not None}
        asked = [message for message in received if id(message) not in wrong_ones]
        enough = self.rule.at(len(sent)).min_updates
        form = Form.of(asked, self.weighted_by_key, self._votes[trained], enough)
        key = self.weighted_by_key if form.counted else None
        replies = read_messages(received, key, trained, measured=form.metrics is not None)
        return form, [
            replace(reply, malformed=wrong_ones.get(id(reply.source), reply.malformed))
            for reply in replies
        ]

    def _clean(
        self,
        received: Sequence[Message],
        accepted: Sequence[Reply],
        dropped: Mapping[str, str],
        form: Form,
        arrays: ArrayRecord | None = None,
    ) -> list[Message]:
        """The replies in the order in which they came. Each is clean, refused, or an unchanged error."""
        clean = clean_replies(
            accepted,
            self.weighted_by_key,
            form,
            arrays,
            cap_examples=self.cap_examples,
            positive=True,
        )
        instead = {id(r.source): message for r, message in zip(accepted, clean, strict=True)}

        def of(message: Message) -> Message:
            if (found := instead.get(id(message))) is not None:
                return found
            if message.has_error():
                return refusal(message, message.error) if message.has_content() else message
            reason = dropped.get(str(message.metadata.src_node_id), "another reply of this node")
            return refusal(message, Error(ErrorCode.UNKNOWN, reason))

        return [of(message) for message in received]

    def _look_at_host(self) -> None:
        """Raise if the strategy that sends messages does not work with a rule."""
        host = next((found for found in callers(self) if isinstance(found, Strategy)), None)
        if host is None or host is self._host:
            return
        check_wrapped(host)
        if isinstance(host, RobustStrategy):
            text = (
                "%s sees only the aggregate of the rule in `RobustGrid`. One of the two is enough"
            )
            log(WARNING, text, type(host).__name__)
        self._host = host

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send messages that are neither for training nor for evaluation.

        Parameters
        ----------
        messages : Iterable[flwr.app.Message]
            The messages, such as queries.

        Returns
        -------
        Iterable[str]
            The ids of the messages.

        Raises
        ------
        ValueError
            If a message is for training or evaluation. A rule needs all replies of a round at once.
        """
        pushed = list(messages)
        for message in pushed:
            kind = kind_of_message(message)
            if kind in ("train", "evaluate"):
                raise wrong(
                    "messages",
                    "neither for training nor for evaluation in `push_messages`",
                    None,
                    "A rule needs all replies of a round at once. Send them with "
                    "`grid.send_and_receive(messages, timeout=...)`.",
                    found=f"one of type {message.metadata.message_type!r}",
                )
        return self.grid.push_messages(pushed)

    def __repr__(self) -> str:
        """The grid and the rule."""
        return f"RobustGrid({self.grid!r}, rule={self.aggregator.rule})"


RobustGrid.__signature__ = full_signature(RobustGrid, SharedOptions, RobustStrategy.__init__)
