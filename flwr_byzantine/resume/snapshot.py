"""The state of a wrapped strategy, such as what a resumed run needs from Flower's server optimisers."""

from collections import OrderedDict, deque
from collections.abc import Mapping
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord
from flwr.common import Parameters, ndarrays_to_parameters, parameters_to_ndarrays
from flwr.server.strategy import Strategy
from flwr.serverapp.strategy import Strategy as MessageStrategy

from flwr_byzantine.aggregation.npy import clip
from flwr_byzantine.resume.format import StateError

STRATEGIES = (Strategy, MessageStrategy)
_CONTAINERS = (dict, list, tuple, set, frozenset, deque)
_KEPT = (dict, OrderedDict, list, tuple)  # not classes derived from them


class Snapshot:
    """Takes a strategy's state, and gives it to another strategy of the same kind.

    It works for any strategy. The state consists of two kinds of attributes. The first kind holds arrays: an
    array, Flower's parameters or array records, or lists, tuples and dictionaries of them. The second kind is
    a number, a text or None, if it has changed since the run began. The same holds for strategies inside the
    strategy. So momenta and second moments of FedAvgM, FedAdam, FedYogi and FedAdagrad are kept, and so are
    adaptive clipping norms. Settings that a new run is given replace the old ones.

    State that cannot be kept is refused by name. Arrays are refused at once if they are in sets, under keys
    that are no text, or inside themselves. Other attributes, such as a set or a list of numbers, are refused
    when the state is taken, if they have changed. Objects of other classes are not searched: a change inside
    them is neither kept nor refused. A strategy with such state needs the methods ``state_dict()`` and
    ``load_state_dict(state)``, which are called instead.

    Parameters
    ----------
    strategy : Any
        A strategy of either API before its first round.

    Raises
    ------
    StateError
        If the strategy has state that cannot be kept. It is both a ValueError and a TypeError.
    """

    def __init__(self, strategy: Any, around: tuple[Any, ...] = ()) -> None:
        self.strategy = strategy
        self._own = hasattr(strategy, "state_dict") and hasattr(strategy, "load_state_dict")
        self._inner: dict[str, Snapshot] = {}
        self._begun = False
        for name, value in ({} if self._own else vars(strategy)).items():
            if isinstance(value, STRATEGIES):
                if any(value is outer for outer in (*around, strategy)):
                    raise self._refusal(name, "which leads back to a strategy around it")
                self._inner[name] = Snapshot(value, (*around, strategy))
        self._initial = self._settings()

    def begin(self) -> None:
        """Take the present attributes for settings, also those set between wrapping and the first run."""
        if not self._begun:
            self._initial, self._begun = self._settings(), True
        for inner in self._inner.values():
            inner.begin()

    def state(self) -> dict[str, Any]:
        """Return the state as arrays, numbers and text."""
        if self._own:
            own: dict[str, Any] = self.strategy.state_dict()
            return own
        state = {name: inner.state() for name, inner in self._inner.items()}
        now = self._settings()
        for name, value in vars(self.strategy).items():
            if name in self._inner:
                if value is not self._inner[name].strategy:
                    raise self._refusal(name, "which is another strategy than before")
            elif name not in now:
                state[name] = _plain(value)
            elif name not in self._initial or now[name] != self._initial[name]:
                if not _is_single(value):
                    raise self._refusal(name, f"a {type(value).__name__} that has changed")
                state[name] = value
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

    def _settings(self) -> dict[str, Any]:
        """Attributes that hold no arrays: name -> a value that stays equal until the attribute changes."""
        settings: dict[str, Any] = {}
        if self._own:
            return settings
        for name, value in vars(self.strategy).items():
            try:
                if name not in self._inner and not _holds_arrays(value):
                    settings[name] = _form(value)
            except _UnkeepableError as error:
                raise self._refusal(name, str(error)) from None
        return settings

    def _refusal(self, name: str, why: str) -> StateError:
        kind = type(self.strategy).__name__
        value = clip(_shown(vars(self.strategy)[name]))
        return StateError(
            "Parameter `checkpoint` should go with a strategy whose state a file can hold. Found "
            f"`{kind}.{name} = {value}`, {why}. A file can hold single numbers, texts and arrays, also "
            f"arrays in lists, in tuples and in dictionaries with text keys. Give {kind} the methods "
            "`state_dict()` and `load_state_dict(state)`, which say what to keep, or leave `checkpoint` out."
        )


def kind(strategy: Any, around: tuple[Any, ...] = ()) -> str:
    """The names of the classes of a strategy and the strategies inside it: ``DPFedAvg(FedAdam)``."""
    inside = [
        kind(value, (*around, strategy))
        for value in vars(strategy).values()
        if isinstance(value, STRATEGIES)
        and not any(value is outer for outer in (*around, strategy))
    ]
    return type(strategy).__name__ + (f"({', '.join(inside)})" if inside else "")


class _UnkeepableError(Exception):
    """A value cannot be kept. The text says what it is."""


class _Same:
    """A value that stands for one object. It is equal only to that of the same object."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.value is other.value

    __hash__ = None  # type: ignore[assignment]


def _is_single(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str | np.generic)


def _items(value: Any) -> list[Any]:
    """The values in a container."""
    return [*value.values()] if isinstance(value, dict) else [*value]


def _holds_arrays(value: Any, inside: tuple[int, ...] = ()) -> bool:
    """Whether a value is or holds arrays. Raise _UnkeepableError if arrays are in an unusual place."""
    if isinstance(value, Parameters | ArrayRecord):
        return True
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            raise _UnkeepableError("an array of objects")
        return True
    if _is_single(value) or isinstance(value, bytes | bytearray):
        return False
    if not isinstance(value, _CONTAINERS):
        if all(hasattr(value, name) for name in ("shape", "dtype", "__array__")):
            raise _UnkeepableError(f"a {type(value).__name__}, which is no numpy array")
        if inside and isinstance(value, STRATEGIES):
            raise _UnkeepableError("which holds a strategy")
        return False
    if id(value) in inside:
        raise _UnkeepableError("which is inside itself")
    found = [_holds_arrays(item, (*inside, id(value))) for item in _items(value)]
    if not any(found):
        return False
    if type(value) not in _KEPT:
        raise _UnkeepableError(f"a {type(value).__name__} of arrays")
    if isinstance(value, dict) and not all(isinstance(key, str) for key in value):
        raise _UnkeepableError("a dictionary of arrays with keys that are no text")
    return True


def _form(value: Any) -> Any:
    """A value that stays equal until the given one changes: the values of a container, or one object."""
    if _is_single(value) or isinstance(value, bytes | bytearray):
        return type(value).__name__, repr(value)
    if isinstance(value, dict):
        return [type(value), [(_form(key), _form(item)) for key, item in value.items()]]
    if isinstance(value, set | frozenset):
        return [type(value), sorted(map(repr, value))]
    if isinstance(value, _CONTAINERS):
        return [type(value), [_form(item) for item in value]]
    return _Same(value)


def _plain(value: Any) -> Any:
    if isinstance(value, Parameters):
        return {"Parameters": parameters_to_ndarrays(value)}
    if isinstance(value, ArrayRecord):
        return {"ArrayRecord": {name: array.numpy() for name, array in value.items()}}
    if isinstance(value, dict):
        return {type(value).__name__: {name: _plain(item) for name, item in value.items()}}
    if isinstance(value, tuple):
        return {"tuple": [_plain(item) for item in value]}
    return [_plain(item) for item in value] if isinstance(value, list) else value


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
    if kind == "tuple":
        return tuple(_host(entry) for entry in item)
    entries = {name: _host(entry) for name, entry in item.items()}
    return OrderedDict(entries) if kind == "OrderedDict" else entries


def _shown(value: Any) -> str:
    try:
        return repr(value)
    except Exception:  # an object of any class may raise anything
        return f"<{type(value).__name__}>"
