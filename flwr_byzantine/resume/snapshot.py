"""The state of a wrapped strategy: what a resumed run needs of Flower's server optimisers."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord
from flwr.common import Parameters, ndarrays_to_parameters, parameters_to_ndarrays
from flwr.server.strategy import Strategy
from flwr.serverapp.strategy import Strategy as MessageStrategy

STRATEGIES = (Strategy, MessageStrategy)


class Snapshot:
    """Gives a strategy's state, and gives it back to another of its kind.

    Without knowing the strategy: its state is every attribute that holds arrays (an array, Flower's
    parameters or array records, and lists, tuples and dictionaries of them) and every number or None
    that is not what it was when the strategy was wrapped; the same for strategies inside it. So
    momenta and second moments of FedAvgM, FedAdam, FedYogi and FedAdagrad and adaptive clipping norms
    are kept, while settings given to a new run count in place of old ones. A strategy with other
    state has ``state_dict()`` and ``load_state_dict(state)``, which are called instead.

    Parameters
    ----------
    strategy : Any
        A strategy of either API, as it is before its first round.
    """

    def __init__(self, strategy: Any) -> None:
        self.strategy = strategy
        self._own = hasattr(strategy, "state_dict") and hasattr(strategy, "load_state_dict")
        values = {} if self._own else vars(strategy)
        self._initial = {name: value for name, value in values.items() if _is_number(value)}
        self._inner = {
            name: Snapshot(value) for name, value in values.items() if isinstance(value, STRATEGIES)
        }

    def state(self) -> dict[str, Any]:
        """Give the state, as arrays and numbers."""
        if self._own:
            own: dict[str, Any] = self.strategy.state_dict()
            return own
        state = {name: inner.state() for name, inner in self._inner.items()}
        for name, value in vars(self.strategy).items():
            changed = _is_number(value) and value is not self._initial.get(name, self)
            if changed or _holds_arrays(value):
                state[name] = _plain(value)
        return state

    def restore(self, state: Mapping[str, Any]) -> None:
        """Set the state to what :meth:`state` gave."""
        if self._own:
            self.strategy.load_state_dict(state)
            return
        for name, value in state.items():
            if name in self._inner:
                self._inner[name].restore(value)
            else:
                setattr(self.strategy, name, _host(value))


def _is_number(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | np.generic)


def _holds_arrays(value: Any) -> bool:
    if isinstance(value, list | tuple | ArrayRecord):
        return isinstance(value, ArrayRecord) or any(map(_holds_arrays, value))
    if isinstance(value, dict):
        text = all(isinstance(key, str) for key in value)
        return text and any(map(_holds_arrays, value.values()))
    numeric = isinstance(value, np.ndarray) and value.dtype.kind in "fiubc"
    return numeric or isinstance(value, Parameters)


def _plain(value: Any) -> Any:
    if isinstance(value, Parameters):
        return {"Parameters": parameters_to_ndarrays(value)}
    if isinstance(value, ArrayRecord):
        return {"ArrayRecord": {name: array.numpy() for name, array in value.items()}}
    if isinstance(value, dict):
        return {"dict": {name: _plain(item) for name, item in value.items()}}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _host(value: Any) -> Any:
    if isinstance(value, list):
        return [_host(item) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, item),) = value.items()
    if kind == "Parameters":
        return ndarrays_to_parameters(item)
    if kind == "ArrayRecord":
        return ArrayRecord({name: Array(array) for name, array in item.items()})
    return {name: _host(entry) for name, entry in item.items()}
