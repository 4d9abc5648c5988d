"""Calls ``kernels.c``, compiled at the installation: the functions of ``reference``, but faster.

If the installation found no C compiler, there is no compiled library, and numpy computes. The log says so
once, and ``python -m flwr_byzantine doctor`` says it too.
"""

import ctypes
import hashlib
import logging
import os
from ctypes import POINTER, Structure, byref, c_char, c_double, c_int64, c_void_p
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from flwr_byzantine.kernels import reference
from flwr_byzantine.kernels.checks import Reduction
from flwr_byzantine.kernels.columns import BFLOAT16, HALF, Columns, Target, addresses, computed_in
from flwr_byzantine.kernels.networks import as_table, selection_network

Doubles = npt.NDArray[np.float64]
Arrays = tuple[npt.NDArray[Any], ...]

VARIABLE = "FLWR_BYZANTINE_KERNELS"
INSTRUCTION_SETS = ("plain", "avx2", "avx512")  # a processor with one has those before it
SOURCE = Path(__file__).with_name("kernels.c")
LIBRARY = Path(__file__).with_name("_kernels.so")

_FUNCTIONS = {  # name -> arguments after the columns
    "distances": [c_int64, c_int64, c_void_p],
    "inner_products": [c_void_p, c_void_p, c_int64, c_int64, c_void_p],
    "sizes": [c_void_p, c_int64, c_int64, c_void_p],
    "mix": [c_void_p, c_void_p, c_int64, c_int64],
    "reduce": [c_void_p, c_void_p, c_int64, c_int64],
}
_STORAGE = {HALF: 1, BFLOAT16: 2}


class Choice(NamedTuple):
    """The kernels that this process uses.

    Parameters
    ----------
    kernels : Compiled or module
        The functions: ``distances``, ``inner_products``, ``sizes``, ``mix`` and ``reduce``.
    name : str
        The instruction set, or ``"numpy"``.
    reason : str
        Why numpy computes, and what to do about it. It is empty if the kernels were chosen.
    """

    kernels: Any
    name: str
    reason: str = ""

    @property
    def threads(self) -> int | None:
        """Number of threads: one for numpy, whose short calls would wait for each other, or None for all."""
        return 1 if self.name == "numpy" else None


class UnusableLibraryError(Exception):
    """There is no compiled library that can be used. The text says why."""


@cache
def choice() -> Choice:
    """The kernels of this process: the compiled ones for its processor, or numpy's.

    Raises
    ------
    ValueError
        If the environment variable ``FLWR_BYZANTINE_KERNELS`` asks for kernels that are not available.
    """
    asked = os.environ.get(VARIABLE, "").strip()
    if asked == "numpy":
        return Choice(reference, "numpy")
    try:
        library = _load()
    except UnusableLibraryError as error:
        if asked:
            raise ValueError(
                f"Environment variable `{VARIABLE}` should be 'numpy' here. Found `{VARIABLE} = {asked!r}`, "
                f"but {error}. Set it to 'numpy', or unset it."
            ) from None
        logging.getLogger("flwr").warning(
            "Aggregation is computed by numpy, several times slower: %s", error
        )
        return Choice(reference, "numpy", str(error))
    usable = INSTRUCTION_SETS[: 1 + library.kernels_instruction_set()]
    there = [name for name in usable if hasattr(library, f"distances_float_{name}")]
    if asked and asked not in there:
        raise ValueError(
            f"Environment variable `{VARIABLE}` should be 'numpy' or one of {there}, which this processor "
            f"has. Found `{VARIABLE} = {asked!r}`. Unset it to use the best of them."
        )
    name = asked or there[-1]
    return Choice(Compiled(library, name), name)


def _load() -> ctypes.CDLL:
    """Load the compiled library, if it was made of the source that lies beside it."""
    if not LIBRARY.exists():
        raise UnusableLibraryError(
            "there is no compiled library. Install a C compiler, then this package again"
        )
    try:
        library = ctypes.CDLL(str(LIBRARY))
        made_of = (c_char * 64).in_dll(library, "kernels_source").value  # digest, in hexadecimal
    except (OSError, ValueError) as error:
        raise UnusableLibraryError(
            f"the compiled library cannot be loaded ({error}). Install this package again"
        ) from None
    if SOURCE.exists() and made_of != hashlib.sha256(SOURCE.read_bytes()).hexdigest().encode():
        raise UnusableLibraryError(
            "the compiled library is not of the kernels.c beside it. Install this package again"
        )
    library.kernels_instruction_set.restype = c_int64
    return library


class _Columns(Structure):
    _fields_ = [
        ("n", c_int64), ("segments", c_int64), ("rows", c_void_p), ("offsets", c_void_p),
        ("storage", c_int64),
    ]  # fmt: skip


class _Target(Structure):
    _fields_ = [
        ("base", c_void_p), ("out", c_void_p), ("base_weight", c_double), ("scale", c_double),
    ]  # fmt: skip


class _Order(Structure):
    _fields_ = [
        ("k", c_int64), ("weights", c_void_p), ("trim", c_int64), ("keep", c_int64),
        ("num_sorters", c_int64), ("sorters", c_void_p), ("overflow", c_int64),
    ]  # fmt: skip


class Compiled:
    """The compiled functions for one instruction set.

    Parameters
    ----------
    library : ctypes.CDLL
        The library.
    instruction_set : str
        An instruction set that both the library and the processor have.
    """

    def __init__(self, library: ctypes.CDLL, instruction_set: str) -> None:
        self._functions: dict[tuple[str, str], Any] = {}
        for name, arguments in _FUNCTIONS.items():
            for kind, number in (("float", np.float32), ("double", np.float64)):
                function = getattr(library, f"{name}_{kind}_{instruction_set}")
                function.argtypes = [POINTER(_Columns), *arguments]
                function.restype = c_int64
                self._functions[name, np.dtype(number).name] = function

    def _call(self, name: str, columns: Columns, *arguments: Any) -> int:
        """Call a function. ctypes lets other threads run during the call."""
        view = _Columns(
            columns.num_rows,
            len(columns.segments),
            columns.rows.ctypes.data,
            columns.offsets.ctypes.data,
            _STORAGE.get(columns.dtype, 0),
        )
        function = self._functions[name, computed_in(columns.dtype).name]
        result: int = function(byref(view), *arguments)
        if result < 0:
            raise MemoryError(
                "There is too little memory to aggregate a block of columns. Use fewer threads: set the "
                "environment variable `FLWR_BYZANTINE_NUM_THREADS` to a smaller number."
            )
        return result

    def distances(self, columns: Columns, lo: int, hi: int) -> Doubles:
        """See :func:`flwr_byzantine.kernels.reference.distances`."""
        result = np.zeros((columns.num_rows, columns.num_rows))
        self._call("distances", columns, lo, hi, result.ctypes.data)
        return result

    def inner_products(
        self, columns: Columns, base: Arrays | None, vector: Arrays | None, lo: int, hi: int
    ) -> Doubles:
        """See :func:`flwr_byzantine.kernels.reference.inner_products`."""
        none = np.zeros(len(columns.segments), np.int64)
        base_at = none if base is None else addresses(base)
        vector_at = none if vector is None else addresses(vector)
        result = np.zeros(columns.num_rows)
        self._call(
            "inner_products",
            columns,
            base_at.ctypes.data,
            vector_at.ctypes.data,
            lo,
            hi,
            result.ctypes.data,
        )
        return result

    def sizes(self, columns: Columns, base: Arrays | None, lo: int, hi: int) -> Doubles:
        """See :func:`flwr_byzantine.kernels.reference.sizes`."""
        base_at = np.zeros(len(columns.segments), np.int64) if base is None else addresses(base)
        result = np.zeros((2, columns.num_rows))
        self._call("sizes", columns, base_at.ctypes.data, lo, hi, result.ctypes.data)
        return result

    def mix(self, columns: Columns, weights: Doubles, target: Target, lo: int, hi: int) -> int:
        """See :func:`flwr_byzantine.kernels.reference.mix`."""
        return self._call("mix", columns, byref(_view(target)), weights.ctypes.data, lo, hi)

    def reduce(
        self,
        columns: Columns,
        weights: Doubles | None,
        reduction: Reduction,
        target: Target,
        lo: int,
        hi: int,
    ) -> int:
        """See :func:`flwr_byzantine.kernels.reference.reduce`."""
        k = columns.num_rows if weights is None else len(weights)
        sorters = as_table(selection_network(k, reduction.trim, reduction.keep))
        # Sums of float32 stay in the range of float64, unless the weights are extremely large.
        overflow = weights is not None and not (np.abs(weights).sum(axis=1) < 1e200).all()
        order = _Order(
            k,
            None if weights is None else weights.ctypes.data,
            reduction.trim,
            reduction.keep or 0,
            len(sorters),
            sorters.ctypes.data,
            overflow,
        )
        return self._call("reduce", columns, byref(_view(target)), byref(order), lo, hi)


def _view(target: Target) -> _Target:
    base, out = target.addresses
    return _Target(base.ctypes.data, out.ctypes.data, target.base_weight, target.scale)
