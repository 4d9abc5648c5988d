"""Worker momentum: honest clients send a running mean of their updates instead of the newest update.

Attackers hide in the spread of the honest updates. Much of this spread is the noise of minibatches, and a
mean over rounds has less noise. So attackers gain less by small steps in the same direction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from logging import WARNING
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message, RecordDict
from flwr.client import NumPyClient
from flwr.clientapp.typing import ClientAppCallable, Mod
from flwr.common.logger import log
from numpy.typing import NDArray

from flwr_byzantine.aggregation.buffers import (
    Buffers,
    check_buffers,
    find_buffers,
    point_out_counter,
)
from flwr_byzantine.attacks.base import require, require_finite, require_whole
from flwr_byzantine.clients.arrays import (
    Arrays,
    Payload,
    check_payload,
    check_same_shapes,
    copies,
    is_floating,
)
from flwr_byzantine.clients.both_apis import EMPTY
from flwr_byzantine.clients.wrapper import Config, FitReply, MissingRound, WrappedClient, round_of

Named = Mapping[str, NDArray[Any]]

_ZERO = np.float32(0)  # where a gradient starts


class MomentumClient(WrappedClient):
    """An honest client that sends its momentum in place of its update.

    Let g_t be the update of round t (what the wrapped client returned, minus what it received), or the
    gradient. The client sends m_t = beta m_{t-1} + (1 - beta) g_t, and first m_1 = g_1. A round in which the
    client does not take part changes nothing: m_{t-1} is the momentum that it sent last.

    Parameters
    ----------
    client : NumPyClient
        The client that trains.
    beta : float (default: 0.9)
        The weight of the past, at least 0 and less than 1. With 0 the client sends what it would send without
        momentum.
    context : Context, optional
        The context of the node, which ``client_fn`` gets. The momentum is kept in ``context.state``, which
        lasts from round to round of a run. Without it the wrapper keeps the momentum itself. That is right
        only for a client that lives as long as the run, but Flower's simulation and its SuperNodes build a
        new client in each round.
    client_id : int (default: 0)
        The client to which the momentum belongs. Attackers that compute the updates of others keep several
        momenta in one context.
    payload : {"parameters", "gradients"}
        What the client returns from ``fit``. With parameters it sends the received model plus the momentum.
    buffers : Collection[int], optional
        Positions of the tensors that are statistics, such as BatchNorm's running means and variances. They
        are sent without momentum, and so are all integer and boolean tensors.

    Raises
    ------
    ValueError
        From ``fit``, if the client returns parameters with other shapes than it received.

    Notes
    -----
    The momentum has the shapes of the tensors that are averaged. It is float32 if they are float16. It starts
    anew in each run, and also, with a warning, if the number, names or shapes of the tensors change. If
    `beta` changes, the momentum goes on.

    An update that is not finite is sent unchanged, with a warning. The momentum does not change, so that one
    bad round does not spoil the next rounds.

    The number of examples, the metrics and the evaluation are those of the wrapped client.

    References
    ----------
    Karimireddy, He, Jaggi: Learning from history for Byzantine robust optimization. ICML 2021. The start
    m_1 = g_1 is that of the authors' code (epfml/byzantine-robust-optimizer), which has no factor 1 - beta.
    ByzFL starts from zero. There, a client that joins late sends a tenth of what the others send.

    Examples
    --------
    >>> import numpy as np
    >>> class Trainer(NumPyClient):
    ...     def fit(self, parameters, config):
    ...         return [p + config["step"] for p in parameters], 10, {}
    >>> client = MomentumClient(Trainer())
    >>> client.fit([np.array([5.0, 6.0])], {"step": 1.0})[0]
    [array([6., 7.])]
    >>> client.fit([np.array([5.0, 6.0])], {"step": 11.0})[0]  # 0.9 * 1 + 0.1 * 11 = 2
    [array([7., 8.])]
    """

    def __init__(
        self,
        client: NumPyClient,
        beta: float = 0.9,
        *,
        context: Context | None = None,
        client_id: int = 0,
        payload: Payload = "parameters",
        buffers: Buffers = None,
    ) -> None:
        super().__init__(client)
        require_whole("client_id", client_id, 0, "Number the clients from 0.")
        self.momentum = _Momentum(beta, payload, buffers, client_id)
        self.forgetful = context is None
        self.state = self.state_of(context)

    def fit(self, parameters: Arrays, config: Config) -> FitReply:
        """Train, and send the momentum."""
        received = copies(parameters) if self.momentum.payload == "parameters" else []
        answer = self.client.fit(parameters, config)
        returned, num_examples, metrics = answer
        if self.forgetful and not self.state:
            _warn_of_a_late_start(config)
        changed = self.momentum.advance(_numbered(returned), _numbered(received), self.state)
        if not changed:
            return answer
        sent = [changed.get(name, array) for name, array in _numbered(returned).items()]
        return sent, num_examples, metrics


def momentum_mod(
    beta: float = 0.9, *, payload: Payload = "parameters", buffers: Buffers = None
) -> Mod:
    """Return a mod that lets the clients of a ``ClientApp`` send their momentum, as `MomentumClient` does.

    It serves apps of the Message API, and apps of NumPyClients too. The momentum is kept in
    ``context.state``.

    Parameters
    ----------
    beta, payload
        See `MomentumClient`.
    buffers : Collection[str | int], Callable[[str], bool] or None
        Names or positions of the tensors that are statistics, or a function of the name. None takes the names
        that end like PyTorch's and Keras's, such as ``running_mean``. They are sent without momentum.

    Returns
    -------
    Mod
        A mod for ``ClientApp(mods=[...])`` or ``@app.train(mods=[...])``. Messages that are not for training,
        errors and the answer of the first round pass through unchanged.

    Notes
    -----
    The model is the first ``ArrayRecord`` of the message and of the answer. Put `attack_mod` in front: with
    ``mods=[attack_mod(wrap), momentum_mod()]``, attackers are clients that would otherwise send their
    momentum. Attackers that compute what others send run the app with an empty state. So they see the updates
    of this round, and not the momentum.

    Examples
    --------
    >>> from flwr.clientapp import ClientApp
    >>> app = ClientApp(mods=[momentum_mod(beta=0.9)])
    """
    momentum = _Momentum(beta, payload, buffers)

    def mod(msg: Message, ctxt: Context, call_next: ClientAppCallable) -> Message:
        if msg.metadata.message_type.split(".")[0] != "train":
            return call_next(msg, ctxt)
        received = {}
        if payload == "parameters":
            received = dict(next(iter(msg.content.array_records.values()), {}))
        reply = call_next(msg, ctxt)
        if reply.has_error() or not reply.content.array_records:
            return reply
        key, returned = next(iter(reply.content.array_records.items()))
        changed = momentum.advance(_decoded(returned), _decoded(received), ctxt.state)
        if changed:
            sent = {name: Array(changed[name]) for name in changed}
            content = RecordDict(dict(reply.content.items()))
            content[key] = ArrayRecord({**returned, **sent})
            reply.content = content
        return reply

    return mod


@dataclass(frozen=True)
class _Momentum:
    """The momentum: what is sent in place of an update, and what is remembered."""

    beta: float
    payload: Payload
    buffers: Buffers
    client_id: int = 0

    def __post_init__(self) -> None:
        require_finite("beta", self.beta)
        advice = "0.9 makes it a mean over about ten rounds."
        require(0 <= self.beta < 1, "beta", "at least 0 and less than 1", self.beta, advice)
        check_payload(self.payload)
        check_buffers(self.buffers)

    @property
    def key(self) -> str:
        """The name of the state. Momenta of gradients and of updates have opposite signs, so names differ."""
        return f"flwr_byzantine.momentum.{self.payload}.{self.client_id}"

    def advance(self, returned: Named, received: Named, state: RecordDict) -> Named:
        """Return the tensors to send instead of the returned ones, and put the momentum into the state."""
        if not returned:  # a client that does not implement `fit`
            return {}
        start = {} if self.payload == "gradients" else _start(returned, received)
        updates = self._updates(returned, start)
        if not all(np.isfinite(update).all() for update in updates.values()):
            log(WARNING, "The update is not finite. It is sent unchanged, and the momentum is kept")
            return {}
        past = self._past(updates, state)
        now = updates
        if past is not None:
            now = {
                name: np.asarray(self.beta * past[name] + (1 - self.beta) * update)
                for name, update in updates.items()
            }
        elif self.buffers is None and len(updates) == sum(map(is_floating, returned.values())):
            point_out_counter(list(returned.values()), "send them unchanged, without momentum")
        state[self.key] = ArrayRecord({name: Array(array) for name, array in now.items()})
        if past is None or self.beta == 0:
            return {}
        with np.errstate(over="ignore"):
            return {
                name: np.asarray(start.get(name, _ZERO).astype(m.dtype) + m).astype(
                    returned[name].dtype
                )
                for name, m in now.items()
            }

    def _updates(self, returned: Named, start: Named) -> dict[str, NDArray[Any]]:
        """Return the update of each tensor that has a momentum, in at least float32."""
        names = list(returned)
        buffers = find_buffers(self.buffers, names, strict=not callable(self.buffers))
        kept = {names[position] for position in buffers}
        wide = {
            name: array.astype(np.result_type(array.dtype, np.float32))
            for name, array in returned.items()
            if is_floating(array) and name not in kept
        }
        with np.errstate(over="ignore", invalid="ignore"):
            return {
                name: np.asarray(end - start.get(name, _ZERO).astype(end.dtype))
                for name, end in wide.items()
            }

    def _past(self, updates: Named, state: RecordDict) -> dict[str, NDArray[Any]] | None:
        """Return the last momentum in the precision of the updates; None if there is none for them."""
        if self.key not in state:
            return None
        past = _decoded(state.array_records[self.key])
        if _shapes(past) != _shapes(updates):
            text = "The tensors have other names or shapes than before, so the momentum starts anew"
            log(WARNING, text)
            return None
        return {name: past[name].astype(update.dtype) for name, update in updates.items()}


def _numbered(arrays: Arrays) -> dict[str, NDArray[Any]]:
    """Return the tensors by their positions, as Flower names those of a NumPyClient."""
    return {str(position): array for position, array in enumerate(arrays)}


def _decoded(record: Mapping[str, Array]) -> dict[str, NDArray[Any]]:
    """Return the tensors of a record."""
    return {name: array.numpy() for name, array in record.items() if name != EMPTY}


def _start(returned: Named, received: Named) -> Named:
    """Return the received tensors under the names of the returned tensors, which may differ."""
    same = received.keys() == returned.keys()
    start = [received[name] for name in returned] if same else list(received.values())
    check_same_shapes(list(returned.values()), start)
    return dict(zip(returned, start, strict=True))


def _shapes(arrays: Named) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of tensors."""
    return {name: array.shape for name, array in arrays.items()}


def _warn_of_a_late_start(config: Config) -> None:
    """Warn that a wrapper never has a momentum if it is built anew in each round, and say what to do."""
    server_round = round_of(config)
    if not isinstance(server_round, MissingRound) and server_round > 1:
        text = "The momentum starts in round %s. If the client is built anew in each round, pass `context`"
        log(WARNING, text, server_round)
