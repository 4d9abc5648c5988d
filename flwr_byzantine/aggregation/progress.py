"""Checks whether a run makes progress: counts rounds without a result, and finds a wrong first model."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from logging import ERROR, WARNING

from flwr.common.logger import log

from flwr_byzantine.aggregation.gate import Model, Reply
from flwr_byzantine.aggregation.npy import MalformedTensorError, clip, decode
from flwr_byzantine.aggregation.outcome import Outcome
from flwr_byzantine.checks import wrong

TOO_MANY = " at most"  # the end of a reason that is about too many replies
PATIENCE = 3  # skipped rounds in a row
WRAPPERS = {"_module.": "Opacus", "module.": "DataParallel", "_orig_mod.": "torch.compile"}


@dataclass(frozen=True)
class Words:
    """The names of things for a user of the strategy.

    Parameters
    ----------
    first_model : str
        The parameter that is the model to start from.
    minimums : tuple[str, str, str]
        The parameters that say how many clients are asked to train, how many are asked to evaluate,
        and how many have to be connected.
    clients : str
        The word for those who send replies.
    f : str
        The parameter that is f; empty if there is none.
    waits : bool
        Whether Flower waits for as many clients as it asks, whatever the third minimum is.
    fraction : str
        The parameter that says which share of the clients is asked to train.
    """

    first_model: str = "initial_parameters"
    minimums: tuple[str, str, str] = (
        "min_fit_clients",
        "min_evaluate_clients",
        "min_available_clients",
    )
    clients: str = "clients"
    f: str = ""
    waits: bool = False
    fraction: str = "fraction_fit"


@dataclass
class Progress:
    """The results of the rounds of one run so far.

    Parameters
    ----------
    words : Words
        The words for messages.
    learning : bool
        Whether a reply was accepted before. Then the first model is not wrong.
    """

    words: Words = field(default_factory=Words)
    learning: bool = False
    skipped: int = 0
    _before: int = 0  # the same number a round ago
    _concerned: bool = False  # whether the log warned of a threshold
    _refused: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def add(
        self, outcome: Outcome, replies: Sequence[Reply], model: Model | None, needed: int
    ) -> None:
        """Take note of a round.

        Parameters
        ----------
        outcome : Outcome
            The outcome of the round.
        replies : Sequence[Reply]
            All replies that were checked.
        model : Model or None
            The model that clients got.
        needed : int
            The smallest number of replies that the rule needs.

        Raises
        ------
        ParameterError
            If no reply of the run was accepted yet, and more clients than there can be attackers
            were refused because of the same difference from the model.
        """
        self._before = self.skipped
        self.skipped = 0 if outcome.model is not None else self.skipped + 1
        self.learning = self.learning or bool(replies and outcome.accepted)
        if outcome.concern and not self._concerned:
            self._concerned = True
            log(WARNING, "%s", outcome.concern)
        if not self.learning and model is not None:
            self._check_first_model(outcome.dropped, replies, model, max(2, needed))
        if self.skipped:
            self._complain(self._advice(outcome))

    def refuse(self, reason: str) -> None:
        """Note that a strategy gave no model in the last round, although the rule gave one."""
        self.skipped = self._before + 1
        self._complain(f"{reason}. The model has not changed since.")

    def _complain(self, text: str) -> None:
        if self.skipped % PATIENCE == 0:
            log(ERROR, "%s rounds in a row were skipped: %s", self.skipped, text)

    def _check_first_model(
        self, dropped: Mapping[str, str], replies: Sequence[Reply], model: Model, needed: int
    ) -> None:
        for client, reason in dropped.items():
            self._refused[reason].add(client)
        sent = {reply.client: reply for reply in replies}
        for client, reason in dropped.items():
            if len(self._refused[reason]) < needed:
                continue
            found = difference(model, sent[client])
            if found is not None:
                told, advice = found
                who, count = self.words.clients, len(self._refused[reason])
                raise wrong(
                    self.words.first_model,
                    f"the model that {who} train",
                    None,
                    advice,
                    found=f"no reply that fits it, and {count} {who} refused for one reason: {told}",
                )

    def _advice(self, outcome: Outcome) -> str:
        why = f"{outcome.reason}. The model has not changed since. "
        if len(outcome.dropped) > len(outcome.accepted):
            reason = next(iter(outcome.dropped.values()))
            return f"{why}Let {self.words.clients} send what fits the model; one was refused for: {reason}"
        asked, _, available = self.words.minimums
        if outcome.reason and outcome.reason.endswith(TOO_MANY):
            fewer = f"Lower `{self.words.fraction}`, `{asked}` or `{self.words.f}`"
            return f"{why}{fewer}, or take a rule without that limit"
        lower = f", lower `{self.words.f}`" if self.words.f else ""
        return (
            f"{why}Raise `{asked}` and `{available}`{lower}, or find out in the log why "
            f"{self.words.clients} do not answer"
        )


def difference(model: Model, reply: Reply) -> tuple[str, str] | None:
    """How a reply differs from the model, and what to do if all replies do; None if the reply is broken.

    Parameters
    ----------
    model : Model
        The model that clients got.
    reply : Reply
        A reply that the gate refused.
    """
    try:
        sent = dict(reply.tensors)
    except (TypeError, ValueError):
        return None
    if reply.malformed is not None or not sent:
        return None
    if not model.names:
        return f"it holds no tensor, they send {len(sent)}", "Pass the model to start from."
    if len(sent) != len(model.names) or set(sent) != set(model.names):
        return _other_tensors(model, list(sent))
    for name, mine in zip(model.names, model.arrays, strict=True):
        try:
            theirs = decode(sent[name])
        except MalformedTensorError:
            return None
        if (mine.shape, mine.dtype.kind) != (theirs.shape, theirs.dtype.kind):
            advice = "Start from the model that they train, in floating-point numbers."
            return (
                f"tensor `{clip(name, 60)}` is {mine.dtype} of shape {mine.shape} in it, and "
                f"{theirs.dtype} of shape {theirs.shape} in what they send",
                advice,
            )
    return None


def _other_tensors(model: Model, sent: Sequence[str]) -> tuple[str, str]:
    missing = [name for name in model.names if name not in set(sent)]
    extra = [name for name in sent if name not in set(model.names)]
    found = f"it holds {len(model.names)} tensors, they send {len(sent)}"
    if missing:
        found += f", without {_some(missing)}"
    if extra:
        found += f", with {_some(extra)} instead" if missing else f", with {_some(extra)} too"
    for prefix, wrapper in WRAPPERS.items():
        if {name.removeprefix(prefix) for name in extra} == set(missing):
            return found, f"Send the state of the model inside {wrapper}: names without `{prefix}`."
        if {name.removeprefix(prefix) for name in missing} == set(extra):
            return found, f"Start from the model inside {wrapper}: names without `{prefix}`."
    if not extra:
        return found, (
            "Send all tensors of `state_dict()`, or start from those alone that are sent, such as the "
            "trainable ones."
        )
    return found, "Start from the tensors that are sent, under the same names."


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(f"`{clip(name, 60)}`" for name in names[:3])
    return f"{shown}, ..." if len(names) > 3 else shown
