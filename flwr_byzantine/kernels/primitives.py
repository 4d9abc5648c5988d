"""What the compiled loops share: how they are compiled, and how they find the values they read."""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import carray, njit, types
from numba.extending import intrinsic

_DRIVER = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}
_HELPER = {"error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
_LINE = 64  # bytes the processor loads at once


def _compile(function: Callable[..., Any]) -> Any:
    """Compile on first call, and keep the machine code on disk where there is a place for it."""
    try:
        return njit(cache=True, **_DRIVER)(function)
    except RuntimeError:  # no writable cache folder
        return njit(**_DRIVER)(function)


@intrinsic
def _pointer(typing_context: Any, address: Any, like: Any) -> Any:
    """Turn an address into a pointer to values of the type of ``like``."""
    pointer = types.CPointer(like.dtype)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(pointer))

    return pointer(address, like), codegen


@intrinsic
def _prefetch(typing_context: Any, address: Any) -> Any:
    """Ask for the cache line at an address, without waiting for it."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer, flag = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer, flag, flag, flag])
        function = builder.module.declare_intrinsic("llvm.prefetch", [pointer], kind)
        read, keep_in_all_caches, data = flag(0), flag(3), flag(1)
        place = builder.inttoptr(args[0], pointer)
        builder.call(function, [place, read, keep_in_all_caches, data])
        return context.get_dummy_value()

    return types.void(address), codegen


def _values(address, start, like, width):
    """View ``width`` values from the one at position ``start`` on."""
    return carray(_pointer(address + start * like.itemsize, like), width)


def _segment(offsets, column):
    """Index of the segment a column lies in."""
    low, high = 0, offsets.shape[0] - 1
    while high - low > 1:
        middle = (low + high) // 2
        if offsets[middle] <= column:
            low = middle
        else:
            high = middle
    return low


def _copy(address, start, like, target, width):
    source = _values(address, start, like, width)
    for c in range(width):
        target[c] = source[c]


def _prefetch_rows(addresses, start, like, width, step, steps):
    """Ask for a share of the rows of a block that is read later: the ``step``-th of ``steps`` shares."""
    n = addresses.shape[0]
    for i in range(step * n // steps, (step + 1) * n // steps):
        first = addresses[i] + start * like.itemsize
        for line in range(0, width * like.itemsize, _LINE):
            _prefetch(first + line)


_values = njit(error_model="numpy", inline="always")(_values)
_segment = njit(error_model="numpy", inline="always")(_segment)
_copy = njit(error_model="numpy", inline="always")(_copy)
_prefetch_rows = njit(**_HELPER)(_prefetch_rows)
