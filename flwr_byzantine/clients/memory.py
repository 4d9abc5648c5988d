"""The memory of an attack. It lasts from round to round, even if each round builds a new client."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from hashlib import blake2b
from logging import WARNING
from typing import Any, TypeVar, cast

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, RecordDict
from flwr.client import NumPyClient
from flwr.common.logger import log

from flwr_byzantine.attacks import Remembering
from flwr_byzantine.attacks.base import require
from flwr_byzantine.attacks.schedule import AttackSchedule
from flwr_byzantine.clients.arrays import Payload, check_payload
from flwr_byzantine.clients.kinds import check_context
from flwr_byzantine.clients.wrapper import ClientWrapper, MissingRound

Memories = Mapping[str, Any]
Attack = TypeVar("Attack")
SIZE = "_size"  # the name under which a memory holds its number of values


class Memory:
    """The memory of one client's attack. It is in the context of the node, or else in this object.

    Parameters
    ----------
    attack : callable
        Any attack. For an attack without a memory, the context does not change.
    client_id : int
        The number of the client. Attackers that share a context do not share their memories.
    context : Context, optional
        The context of the node.
    """

    def __init__(self, attack: object, client_id: int, context: Context | None) -> None:
        check_context(context)
        self.lasts = isinstance(attack, Remembering)
        self.key = f"flwr_byzantine.attack.{type(attack).__name__}.{client_id}"
        self.state = None if context is None else context.state
        self.here: Memories = {}

    def read(self) -> Memories:
        """Return the memory. Callers must not change it."""
        return self.here if self.state is None else _read(self.state, self.key)

    def keep(self, memories: Memories) -> None:
        """Replace the memory."""
        if not self.lasts:
            return
        self.here = memories
        if self.state is not None:
            _write(self.state, self.key, memories)


class RememberingClient(ClientWrapper):
    """A wrapper whose attack may have a memory.

    Parameters
    ----------
    client, client_id, seed, schedule
        See `ClientWrapper`.
    attack : callable
        The attack, which may have a schedule of its own.
    payload : {"parameters", "gradients"}
        What the clients return from ``fit``.
    context : Context, optional
        The context of the node.
    """

    def __init__(
        self,
        client: NumPyClient,
        attack: Any,
        *,
        client_id: int,
        seed: int,
        payload: Payload,
        schedule: AttackSchedule,
        context: Context | None,
    ) -> None:
        super().__init__(client, client_id=client_id, seed=seed, schedule=schedule)
        check_payload(payload)
        self.attack = self.scheduled(attack)
        self.payload: Payload = payload
        self.memory = Memory(self.attack, client_id, context)

    def recollections(self, server_round: int) -> Memories:
        """Return the attack's memory. Callers must not change it."""
        found = self.memory.read()
        if self.memory.lasts and not found and self.memory.state is None:
            late = not isinstance(server_round, MissingRound) and server_round > 1
            if late and self.is_on(server_round - 1):
                text = (
                    "The memory of %s starts in round %s. If the client is built anew in each round, pass "
                    "`context`"
                )
                log(WARNING, text, type(self.attack).__name__, server_round)
        return found


def recalling(attack: Attack, memories: Memories, size: int) -> Attack:
    """Return an attack with these memories, for a call with this many values. See :func:`remembered`.

    Neither the given attack nor the memories are changed. Memories of another number of values are dropped.
    """
    if not isinstance(attack, Remembering):
        return attack
    awake = attack.fresh()
    awake.memory.update(deepcopy({name: memories[name] for name in memories if name != SIZE}))
    awake.resized(memories.get(SIZE, size), size)
    return cast(Attack, awake)


def remembered(attack: object, size: int) -> Memories:
    """Return an attack's memory after its call, and its number of values."""
    if not isinstance(attack, Remembering) or not attack.memory:
        return {}
    return {**attack.memory, SIZE: size}


def digest(memories: Memories) -> bytes:
    """Return a digest of memories. Other memories give another digest."""
    found = blake2b(digest_size=16)
    for name in sorted(memories):
        value = memories[name]
        if isinstance(value, np.ndarray | np.generic):
            found.update(repr((name, type(value).__name__, value.dtype.str, value.shape)).encode())
            found.update(value.tobytes())
        else:
            found.update(repr((name, type(value).__name__, value)).encode())
    return found.digest()


def _write(state: RecordDict, key: str, memories: Memories) -> None:
    """Put each array and each number into a record, to the last bit."""
    arrays, numbers, others = {}, {}, {}
    for name, value in memories.items():
        if isinstance(value, np.ndarray) and value.dtype != object:
            arrays[name] = Array(value)
        elif isinstance(value, np.generic):
            numbers[name] = Array(np.asarray(value))
        else:
            expected, advice = "arrays and numbers", "A context keeps nothing else."
            right = isinstance(value, bool | int | float | str | bytes)
            require(right, f"memory[{name!r}]", expected, value, advice)
            others[name] = value
    state[f"{key}.arrays"] = ArrayRecord(arrays)
    state[f"{key}.numbers"] = ArrayRecord(numbers)
    state[f"{key}.others"] = ConfigRecord(others)


def _read(state: RecordDict, key: str) -> Memories:
    """Return what `_write` put there; empty if there is nothing."""
    if f"{key}.arrays" not in state:
        return {}
    arrays, numbers = (state.array_records[f"{key}.{kind}"] for kind in ("arrays", "numbers"))
    return {
        **{name: array.numpy() for name, array in arrays.items()},
        **{name: array.numpy()[()] for name, array in numbers.items()},
        **state.config_records[f"{key}.others"],
    }
