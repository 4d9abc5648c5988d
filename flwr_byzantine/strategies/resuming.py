"""How a strategy goes on from a checkpoint, in Flower's loop or in a user's own loop."""

from collections.abc import Callable, Mapping
from logging import ERROR, INFO, WARNING
from typing import Any, ClassVar

from flwr.common.logger import log

from flwr_byzantine.aggregation.aggregator import Aggregator
from flwr_byzantine.aggregation.gate import Model
from flwr_byzantine.resume.checkpoint import Checkpoint, CheckpointError, Checkpoints
from flwr_byzantine.resume.format import tensor_with_nan
from flwr_byzantine.rules.composition import kind_of

_OTHER_FILE = "Choose another file for this run."


class Resuming:
    """Keeps checkpoints, and skips the rounds that they have done already.

    A run begins when Flower's loop starts it. A user's own loop may not start it. Then the run begins with
    the first round that is configured. Rounds in the checkpoint are never trained again. So no loop can
    overwrite a later round with an earlier one.
    """

    aggregator: Aggregator
    checkpoints: Checkpoints | None
    _api: ClassVar[str]
    _begun = False
    _latest = -1  # the newest round that was configured
    _hand_back = False  # whether the loop still has to get the checkpoint's model
    _found: Checkpoint | None = None  # the checkpoint from which this run goes on
    _evaluation: tuple[Checkpoint | None, Any] | None = None  # an evaluated model, and the result
    _kept = -1  # the newest round in the checkpoint

    @property
    def _done(self) -> int:
        """The last round that was done before this run; -1 if none, because some loops count from 0."""
        return -1 if self._found is None else self._found.server_round

    def _made_by(self) -> dict[str, str]:
        """What has to be the same in a checkpoint and in this strategy."""
        rule = kind_of(self.aggregator.rule)
        return {"API": self._api, "strategy": type(self).__name__, "rule": rule}

    def _state(self) -> dict[str, Any]:
        """The state on which later rounds depend, besides the model and the round."""
        watch = self.aggregator.watch.state_dict()
        return {"aggregator": self.aggregator.state_dict(), "watch": watch}

    def _load_state(self, state: Mapping[str, Any]) -> None:
        self.aggregator.load_state_dict(state["aggregator"])
        self.aggregator.watch.load_state_dict(state.get("watch", {}))

    def _resume(self, initial: Callable[[], Model] | None = None) -> Checkpoint | None:
        """Begin a run. If there is a checkpoint, go back to the newest one, whose rounds are done.

        Parameters
        ----------
        initial : Callable or None
            Reads the model with which the run starts, if it is known.

        Raises
        ------
        CheckpointError
            If it belongs to another strategy, or holds another model than the one with which the run starts.
        """
        self.aggregator.audit.begin()
        self._begun, self._found, self._latest, self._hand_back = True, None, -1, False
        found = None if self.checkpoints is None else self.checkpoints.load()
        if found is not None:
            self._check(found)
            if initial is not None:
                _check_model(found, initial())
            self._load_state(found.state)
            self._found, self._kept = found, found.server_round
            log(INFO, "Resuming after round %s, from a checkpoint", self._done)
        self._begin_run(learning=found is not None)
        return found

    def _begin_run(self, learning: bool = False) -> None:
        """Forget the outcomes of the last run's rounds, and whether this run's model learns."""

    def _is_done(self, server_round: int, initial: Model | None = None) -> bool:
        """Whether a round was done before. Begin the run if the loop has not begun it."""
        backwards = server_round < self._latest or self._done < server_round <= self._kept
        if not self._begun or (backwards and self.checkpoints is not None):
            self._resume(None if initial is None else lambda: initial)
            self._hand_back = True
        self._latest = server_round
        return server_round <= self._done

    def _passed_over(self) -> Mapping[str, bytes] | None:
        """The model to return for a round that was done before. None keeps the loop's model.

        A loop that began without the checkpoint's model gets it once, in its first round.
        """
        if self._found is None or not self._hand_back:
            return None
        self._hand_back = False
        return self._found.tensors

    def _evaluated_again(self, evaluate: Callable[[], Any]) -> Any:
        """The evaluation of the checkpoint's model. It is made once for all rounds that were done."""
        if self._evaluation is None or self._evaluation[0] is not self._found:
            self._evaluation = self._found, evaluate()
        return self._evaluation[1]

    def _goes_on(self, server_round: int, tensors: Mapping[str, bytes]) -> bool:
        """Whether the first new round begins with the checkpoint's model."""
        if self._found is None or server_round != self._done + 1 or tensors == self._found.tensors:
            return True
        text = "Round %s starts from the checkpoint's model, and not from the model that the loop passed"
        log(WARNING, text, server_round)
        return False

    def _save(self, server_round: int, tensors: Mapping[str, bytes]) -> None:
        """Keep what a run needs to go on after a round. If it cannot be written, the run goes on anyway."""
        if self.checkpoints is None:
            return
        reason: object = tensor_with_nan(tensors)
        if reason is not None:
            reason = f"the model has NaN in tensor {reason!r}"
        else:
            checkpoint = Checkpoint(server_round, tensors, self._state(), self._made_by())
            try:
                self.checkpoints.save(checkpoint)
            except OSError as error:
                reason = error
        if reason is None:
            self._kept = server_round
        else:
            text = "Round %s is not in the checkpoint %s: %s. The run goes on, and the file has %s"
            kept = "no round" if self._kept < 0 else f"round {self._kept}"
            log(ERROR, text, server_round, self.checkpoints.path, reason, kept)

    def _check(self, found: Checkpoint) -> None:
        """Raise CheckpointError if a checkpoint belongs to another strategy."""
        mine = self._made_by()
        for what, expected in mine.items():
            if (other := found.made_by.get(what)) != expected:
                raise CheckpointError(
                    f"Parameter `checkpoint` should belong to this strategy. Found one with {what} = "
                    f"{other!r}, expected {expected!r}. {_OTHER_FILE}"
                )


def _check_model(found: Checkpoint, initial: Model) -> None:
    """Raise CheckpointError if a checkpoint holds another model than the run starts with."""
    kept, needed = _form(Model.read(found.tensors.items())), _form(initial)
    if kept != needed:
        pairs = list(zip(kept, needed, strict=False))
        first = next((i for i, (a, b) in enumerate(pairs) if a != b), len(pairs))
        raise CheckpointError(
            "Parameter `checkpoint` should belong to the model of this run. Found "
            f"{kept[first : first + 1] or 'no tensor'} at position {first} of its tensors, expected "
            f"{needed[first : first + 1] or 'none'}. {_OTHER_FILE}"
        )


def _form(model: Model) -> list[tuple[str, tuple[int, ...], str]]:
    """The name, shape and dtype of every tensor, without the order of its bytes."""
    return [(n, a.shape, a.dtype.name) for n, a in zip(model.names, model.arrays, strict=True)]
