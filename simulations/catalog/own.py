"""What a run takes from the user's own code, by import path: ``module:name``.

``my_package.networks:small_net`` is ``small_net`` in the module ``my_package.networks``. The module is looked
for where Python looks, and in the working directory. If anything in it goes wrong, the error names the
parameter that holds the import path.
"""

from __future__ import annotations

import inspect
import os
import re
import sys
import traceback
from collections.abc import Iterable, Mapping
from operator import attrgetter
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flwr_byzantine.checks import ParameterError, did_you_mean, require, wrong
from flwr_byzantine.lab.processes import in_one_line

NAME = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
EXAMPLES = {"model": "my_package.networks:small_net", "dataset": "my_package.data:load"}
RETURNS = "a function that returns `(x_train, y_train), (x_test, y_test)`"
ORDER = ("x_train", "y_train", "x_test", "y_test")


class Samples(NamedTuple):
    """Samples, float32 of shape (samples, ...), and int64 labels."""

    x: NDArray[np.float32]
    y: NDArray[np.int64]


def is_path(name: object) -> bool:
    """Whether a name is an import path, and not a name from a list.

    Examples
    --------
    >>> is_path("my_package.data:load"), is_path("digits")
    (True, False)
    """
    return isinstance(name, str) and ":" in name


def require_known(parameter: str, value: str, names: Iterable[str]) -> None:
    """Raise ValueError unless a value is one of the names, or an import path if the parameter takes one.

    Nothing is imported.
    """
    if value in names:
        return
    example = EXAMPLES.get(parameter)
    if example is None or not is_path(value):
        path = f", or an import path such as `{example}`" if example else ""
        text = (
            f"Parameter `{parameter}` should be one of {', '.join(names)}{path}. "
            f"Found `{parameter} = {value}`. {did_you_mean(value, names)}"
        )
        raise ValueError(text.rstrip())
    expected = f"an import path such as `{example}`"
    advice = "Write the module as `import` does, a colon, and a name in it."
    require(bool(re.fullmatch(f"{NAME}:{NAME}", value)), parameter, expected, value, advice)


def imported(parameter: str, path: str) -> Any:
    """Return the function or class that an import path names.

    Raises
    ------
    ValueError
        If its module cannot be imported, or has no such function or class.
    """
    place, _, name = path.partition(":")
    expected = "the import path of a function or a class"
    if (here := os.getcwd()) not in sys.path and "" not in sys.path:
        sys.path.append(here)
    try:
        module = resolve_name(f"{place}:")
    except (Exception, SystemExit) as error:
        missing = isinstance(error, ModuleNotFoundError) and f"{place}.".startswith(
            f"{error.name}."
        )
        found = f"`{parameter} = {path}`, but there is no module `{place}`"
        advice = "Correct its name, or start in the folder that holds it."
        if place.endswith(".py"):
            advice = f"Leave out `.py`: write `{place.removesuffix('.py')}:{name}`."
        if not missing:
            found = f"`{parameter} = {path}`, but its module cannot be imported: {said(error)}"
            advice = f"Try `import {place}` in Python."
        raise wrong(parameter, expected, path, advice, found=found) from error
    try:
        own = attrgetter(name)(module)
    except AttributeError as error:
        found = f"`{parameter} = {path}`, but `{place}` has no `{name}`"
        there = [
            f"`{known}`"
            for known, value in vars(module).items()
            if callable(value) and getattr(value, "__module__", None) == module.__name__
        ]
        advice = f"It has {', '.join(there)}." if there else "It has no function and no class."
        raise wrong(parameter, expected, path, advice, found=found) from error
    if not callable(own):
        found = f"`{parameter} = {path}`, which is of type {_type(own)} and cannot be called"
        raise wrong(parameter, expected, path, "Name a function that returns it.", found=found)
    return own


def called(parameter: str, path: str, expected: str, known: Mapping[str, Any]) -> Any:
    """Return what the function or class of an import path returns.

    It gets the known arguments by name, as far as it has parameters of these names. If it cannot be called in
    this way, it gets all of them by position.

    Parameters
    ----------
    parameter, path : str
        The parameter, and its import path.
    expected : str
        What it should be, for an error.
    known : mapping
        The arguments.

    Raises
    ------
    ValueError
        If it cannot be called in either way, or if it raises an error.
    """
    function = imported(parameter, path)
    positional, named = _arguments(function, known)
    if positional is None:
        found = f"`{parameter} = {path}`, which asks for other arguments: {_signature(function)}"
        names = " and ".join(f"`{name}`" for name in known)
        advice = f"It is given {names}; give all other parameters a default."
        raise wrong(parameter, expected, path, advice, found=found)
    try:
        return function(*positional, **named)
    except (Exception, SystemExit) as error:
        found = f"`{parameter} = {path}`, which raised {said(error)}"
        raise wrong(parameter, expected, path, "Try it in Python.", found=found) from error


def load(path: str, data_dir: str) -> tuple[Samples, Samples]:
    """Return the user's own training and test samples.

    Raises
    ------
    ValueError
        If the function returns anything else.
    """
    given = called("dataset", path, RETURNS, {"data_dir": data_dir})
    parts = list(given) if isinstance(given, tuple | list) else []
    if len(parts) == 2 and all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in parts):
        parts = [array for pair in parts for array in pair]
    if len(parts) != len(ORDER):
        many = f"{len(parts)} values" if parts else f"a value of type {_type(given)}"
        raise _refused(path, f"which returned {many}", "Return these four arrays in this order.")
    arrays = dict(zip(ORDER, parts, strict=True))
    train, test = (
        Samples(_samples(path, f"x_{part}", arrays), _labels(path, f"y_{part}", arrays))
        for part in ("train", "test")
    )
    for part, own in (("train", train), ("test", test)):
        if len(own.x) != len(own.y):
            found = f"whose x_{part} has {len(own.x)} samples and y_{part} {len(own.y)} labels"
            raise _refused(path, found, "Give each sample one label.")
    if train.x.shape[1:] != test.x.shape[1:]:
        shapes = f"{train.x.shape[1:]} in x_train and {test.x.shape[1:]} in x_test"
        found = f"whose samples have the shapes {shapes}"
        raise _refused(path, found, "Give all samples one shape.")
    labels = np.concatenate([train.y, test.y])
    if labels.min() > 0 or labels.max() >= len(labels):
        found = f"whose labels of {len(labels)} samples go from {labels.min()} to {labels.max()}"
        raise _refused(path, found, "Count the classes from 0: three classes are 0, 1 and 2.")
    return train, test


def said(error: BaseException) -> str:
    """Say in one line what an error of the user's code says, and where it was raised."""
    others = (str(Path(__file__).parents[1]), os.path.dirname(os.__file__), "<")
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(others) and "site-packages" not in frame.filename
    ]
    place = f" ({os.path.basename(own[-1].filename)}, line {own[-1].lineno})" if own else ""
    return f"{in_one_line(error)}{place}"


def _samples(path: str, name: str, arrays: Mapping[str, Any]) -> NDArray[np.float32]:
    """Return samples as float32. Raise an error if they are not samples."""
    array = _array(path, name, arrays)
    if array.ndim < 2 or not array.size:
        advice = "The shape is (samples, ...): (samples, channels, height, width) for images."
        raise _refused(path, f"whose {name} has the shape {array.shape}", advice)
    with np.errstate(over="ignore", invalid="ignore"):
        single = np.array(array, dtype=np.float32, order="C")
    if not np.isfinite(single).all():
        found = f"whose {name} holds NaN, or numbers that are no finite float32"
        raise _refused(path, found, "Leave out or fill in such samples.")
    return single


def _labels(path: str, name: str, arrays: Mapping[str, Any]) -> NDArray[np.int64]:
    """Return labels as int64. Raise an error if they are not labels."""
    array = _array(path, name, arrays)
    if array.ndim != 1 or not array.size:
        advice = f"Labels have the shape (samples,), and the order is {', '.join(ORDER)}."
        raise _refused(path, f"whose {name} has the shape {array.shape}", advice)
    wrong_ones = array[~(np.isfinite(array) & (array == np.floor(array)) & (array >= 0))]
    if wrong_ones.size:
        found = f"whose {name} holds {wrong_ones[0]}"
        raise _refused(path, found, "Labels are whole numbers from 0 on, the numbers of classes.")
    return array.astype(np.int64)


def _array(path: str, name: str, arrays: Mapping[str, Any]) -> NDArray[Any]:
    """Return one of the arrays. Raise an error if it does not hold real numbers."""
    try:
        array = np.asarray(arrays[name])
    except Exception as error:
        raise _refused(
            path, f"whose {name} is no array: {said(error)}", "Return it as one."
        ) from error
    if array.dtype.kind not in "biuf":
        found = f"whose {name} has values of type {array.dtype}"
        raise _refused(path, found, "Return numbers: samples of any type, and labels as integers.")
    return array


def _refused(path: str, found: str, advice: str) -> ParameterError:
    """The error for data of the user's own that no run can use."""
    return wrong("dataset", RETURNS, path, advice, found=f"`dataset = {path}`, {found}")


def _arguments(
    function: Any, known: Mapping[str, Any]
) -> tuple[tuple[Any, ...] | None, dict[str, Any]]:
    """The positional and named arguments to call a function with. None: it cannot be called."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # a function written in C
        return tuple(known.values()), {}
    named = {name: value for name, value in known.items() if name in signature.parameters}
    for positional, keywords in (((), named), (tuple(known.values()), {})):
        try:
            signature.bind(*positional, **keywords)
        except TypeError:
            continue
        return positional, keywords
    return None, {}


def _signature(function: Any) -> str:
    """How a function is called."""
    return f"{getattr(function, '__name__', 'it')}{inspect.signature(function)}"


def _type(value: object) -> str:
    """The name of a value's type."""
    return type(value).__name__
