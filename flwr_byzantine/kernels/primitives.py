"""What the compiled loops share: how they are compiled, and how they find the values they read."""

from collections.abc import Callable
from typing import Any

from numba import carray, njit, types
from numba.extending import intrinsic

_DRIVER = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}
_HELPER = {"error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


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


_values = njit(error_model="numpy", inline="always")(_values)
_segment = njit(error_model="numpy", inline="always")(_segment)
_copy = njit(error_model="numpy", inline="always")(_copy)
