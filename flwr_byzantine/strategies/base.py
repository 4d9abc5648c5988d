"""What the strategies of both Flower APIs share: an aggregator, its audit, and checkpoints."""

import os
from collections.abc import Mapping
from dataclasses import replace
from logging import WARNING
from typing import TYPE_CHECKING, Any, ClassVar

from flwr.common.logger import log

from flwr_byzantine.aggregation.aggregator import Aggregator
from flwr_byzantine.aggregation.buffers import Buffers
from flwr_byzantine.aggregation.names import NodeNames
from flwr_byzantine.aggregation.progress import Progress, Words
from flwr_byzantine.aggregation.step_sizes import LearningRate
from flwr_byzantine.aggregation.trusted import TrustedWeights, check_trusted
from flwr_byzantine.aggregation.watch import OnSuspect
from flwr_byzantine.audit import AuditRecord, Suspicion
from flwr_byzantine.checks import is_whole, require_bool
from flwr_byzantine.resume.checkpoint import Checkpoints
from flwr_byzantine.rules.base import Rule, require_rule
from flwr_byzantine.rules.bounds import find_f, survives_untold
from flwr_byzantine.rules.preaggregation import Step, in_front
from flwr_byzantine.strategies.hosts import check_around
from flwr_byzantine.strategies.resuming import Resuming
from flwr_byzantine.strategies.words import COUNTERPARTS, FIT_WORDS, HOOKS, MESSAGE_WORDS

_SETTINGS = {*FIT_WORDS.values(), *MESSAGE_WORDS.values(), *COUNTERPARTS}


class RobustStrategy(Resuming):
    """Aggregates with a rule, and can go on after a crash. It is a mixin for strategies.

    Parameters
    ----------
    rule : flwr_byzantine.rules.Rule
        The aggregation rule.
    payload, learning_rate, order_by, on_too_few, on_dropped, bound, count_failures, buffers, audit_log
        See :class:`flwr_byzantine.aggregation.aggregator.Aggregator`.
    pre_aggregation : flwr_byzantine.rules.PreAggregation or None
        A step in front of the rule: ``pre_aggregation >> rule`` runs.
    trusted_weights : Mapping[str | int, float] or None
        The operator's weights of the clients, by node id, for rules that average whole updates. A
        client that is not listed gets the smallest weight.
    checkpoint : str, Path or None
        A file that keeps the model, the round and the strategy's state after every round. If it
        exists, the run goes on after the round in it.
    cap_examples : bool
        Whether users' metrics functions see numbers of examples that are cut to the median of the
        positive ones, instead of the numbers that clients sent.
    suspicion, on_suspect, quarantine, node_names
        See :class:`flwr_byzantine.aggregation.watch.Watch`.
    **kwargs
        Keywords of the strategy that this is mixed into.
    """

    words: ClassVar[Words] = Words()  # the words of the strategy's API
    rule_words: ClassVar[Mapping[str, str]] = {}  # fields of rules, and the API's words for them

    def __init__(
        self,
        *,
        rule: Rule,
        payload: str = "parameters",
        learning_rate: LearningRate = 1.0,
        order_by: str | None = None,
        on_too_few: str = "skip",
        on_dropped: str = "keep_f",
        bound: str = "keep",
        count_failures: bool = False,
        buffers: Buffers = None,
        audit_log: str | os.PathLike[str] | None = None,
        pre_aggregation: Step | None = None,
        trusted_weights: TrustedWeights = None,
        checkpoint: str | os.PathLike[str] | None = None,
        cap_examples: bool = False,
        suspicion: Suspicion | None = None,
        on_suspect: OnSuspect = None,
        quarantine: bool = False,
        node_names: NodeNames = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        require_bool("cap_examples", cap_examples)
        rule = in_front(pre_aggregation, rule)
        self.cap_examples = cap_examples
        self.aggregator = self._make_aggregator(
            rule,
            payload=payload,
            learning_rate=learning_rate,
            order_by=order_by,
            on_too_few=on_too_few,
            on_dropped=on_dropped,
            bound=bound,
            count_failures=count_failures,
            buffers=buffers,
            audit_log=audit_log,
            trusted_weights=trusted_weights,
            suspicion=suspicion,
            on_suspect=on_suspect,
            quarantine=quarantine,
            node_names=node_names,
        )
        self._begin_run()
        warn_of_f(type(self).__name__, rule, self._words_for(rule).f)
        self._warned = self._looked = False
        self.checkpoints = None if checkpoint is None else Checkpoints(checkpoint)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute, and warn if that has no effect.

        It has no effect for a keyword of the other API or of another rule, and for a keyword that is read
        only once.
        """
        settings = _SETTINGS | {*(RobustStrategy.__init__.__kwdefaults__ or {})}
        if name in settings and not hasattr(self, name) and "aggregator" in vars(self):
            text = "Setting `%s` has no effect on %s%s"
            word = COUNTERPARTS.get(name, "")
            instead = f": in this API it is `{word}`" if hasattr(self, word) else ""
            log(WARNING, text, name, type(self).__name__, instead)
        super().__setattr__(name, value)

    if not TYPE_CHECKING:  # so that type checkers can find wrong names

        def __getattr__(self, name: str) -> Any:
            """Raise AttributeError. For what strategies of the other API have, say where these are."""
            hooks, advice = HOOKS.get(getattr(type(self), "_api", ""), ((), ""))
            instead = f". {advice}" if name in hooks else ""
            text = f"{type(self).__name__!r} object has no attribute {name!r}{instead}"
            raise AttributeError(text, name=name, obj=self)

    def _make_aggregator(self, rule: Rule, **settings: Any) -> Aggregator:
        return Aggregator(rule, **settings)

    @property
    def rule(self) -> Rule:
        """The aggregation rule. You can set another rule between rounds."""
        return self.aggregator.rule

    @rule.setter
    def rule(self, rule: Rule) -> None:
        require_rule(rule)
        check_trusted(self.aggregator.trusted_weights, rule)
        self._check_new(rule)
        self.aggregator.rule = rule
        self.aggregator.progress.words = self._words_for(rule)
        warn_of_f(type(self).__name__, rule, self._words_for(rule).f)

    def _look_around(self) -> None:
        """Find out, once, whether something around this strategy makes the rule useless."""
        if not self._looked:
            check_around(self)
            self._looked = True

    def _note_asked(self, server_round: int, asked: int) -> None:
        """Warn once if a round asks fewer clients than the rule needs, or more than it can handle."""
        least, most = self.rule.at(asked).min_updates, self.rule.at(asked).max_updates
        if most is not None and asked > most and not self._warned:
            self._warned = True
            text = "Round %s asks %s %s, but %s can handle at most %s. They are skipped. Lower `%s` or `%s`"
            names = (self.words.fraction, self.words.minimums[0])
            log(WARNING, text, server_round, asked, self.words.clients, self.rule, most, *names)
        if 0 < asked < least and not self._warned and self.aggregator.bound != "warn":
            self._warned = True
            least_asked, _, available = self.words.minimums
            text = (
                "Round %s asks %s %s, but %s needs %s. Such rounds are skipped. Raise `%s` and `%s`"
            )
            who = self.words.clients
            log(WARNING, text, server_round, asked, who, self.rule, least, least_asked, available)

    def _check_new(self, rule: Rule) -> None:
        """Raise if a new rule does not fit the rest of the strategy."""

    def _words_for(self, rule: Rule) -> Words:
        """The words of the API, with the word for f that users of this class write."""
        found = find_f(rule)
        if found is None:
            return self.words
        word = self.rule_words.get(found[0], "")
        return replace(self.words, f=word if hasattr(type(self), word) else found[0])

    def _begin_run(self, learning: bool = False) -> None:
        self.aggregator.progress = Progress(self._words_for(self.aggregator.rule), learning)
        if not learning:
            self.aggregator.watch.begin()

    @property
    def audit(self) -> tuple[AuditRecord, ...]:
        """What became of every client's reply in the newest rounds: :class:`AuditRecord`."""
        return self.aggregator.audit.records

    @property
    def suspects(self) -> frozenset[str]:
        """The ids of suspects, as the audit names them. :class:`Suspicion` says who is one."""
        return frozenset(self.aggregator.watch.suspects.convicted)

    def pardon(self, client: str | int) -> None:
        """Clear a suspect, and forget the evidence against it."""
        with self.aggregator.lock:
            self.aggregator.watch.pardon(client)

    def state_dict(self) -> dict[str, Any]:
        """The state on which later rounds depend, besides the model and the round."""
        return self._state()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave."""
        self._load_state(state)


def warn_of_f(owner: str, rule: Rule, word: str) -> None:
    """Warn if f of a rule is 0, or if a step in front of it survives fewer attackers than the rule."""
    found = find_f(rule)
    if found is not None and is_whole(found[1]):
        survived = rule.tolerated(rule.min_updates)
        if survived < found[1]:
            text = (
                "%s survives only %s attackers, although `%s` is %s: a part of %s has a smaller f"
            )
            log(WARNING, text, owner, survived, word, found[1], rule)
    for step in getattr(rule, "before", ()) if found is None else ():
        if (told := find_f(step)) is not None and told[1] == 0:
            text = "%s protects from no attacker: `%s` of its pre-aggregation %s is 0. Pass a larger number"
            log(WARNING, text, owner, told[0], step)
    if found is not None and found[1] == 0 and not survives_untold(rule):
        text = "%s protects from no attacker: its `%s` is 0. Pass how many attackers to survive%s"
        log(WARNING, text, owner, word, "" if word == "beta" else ", or their share, such as 0.2")
