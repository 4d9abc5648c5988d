"""What the compiled loops share: how they are compiled, and how they find the values they read."""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

# Nothing here allocates, so nothing needs numba's reference counts, which take long to compile.
_OPTIONS = {"error_model": "numpy", "no_cfunc_wrapper": True, "_nrt": False}
_DRIVER = {**_OPTIONS, "nogil": True}
_HELPER = {**_OPTIONS, "no_cpython_wrapper": True}
_LINE = 64  # bytes the processor loads at once


def _compile(function: Callable[..., Any]) -> Any:
    """Compile on first call, and keep the machine code on disk where there is a place for it."""
    try:
        return njit(cache=True, **_DRIVER)(function)
    except RuntimeError:  # no writable cache folder
        return njit(**_DRIVER)(function)


@intrinsic
def _values(typing_context: Any, address: Any, start: Any, like: Any, width: Any) -> Any:
    """View ``width`` values of the type of ``like`` from the one at position ``start`` on."""
    array_type = types.Array(like.dtype, 1, "C")

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        first, position, _, length = args
        array = context.make_array(array_type)(context, builder)
        item = context.get_abi_sizeof(context.get_data_type(like.dtype))
        size = context.get_constant(types.intp, item)
        place = builder.add(first, builder.mul(position, size))
        data = builder.inttoptr(place, array.data.type)
        populate_array(array, data, shape=[length], strides=[size], itemsize=size, meminfo=None)
        return array._getvalue()

    return array_type(types.intp, types.intp, like, types.intp), codegen


# Python's own `a if condition else b`, stored to where `a` or `b` was read, becomes a store under a mask:
# without AVX-512 it takes several times as long. So minima, maxima and selections are these, and a
# selection never reads from where it is stored.


def _extremum(name: str, *flags: str) -> Any:
    """Minimum or maximum of two values, in the type of the first; a number where one is a quiet NaN."""

    def extremum(typing_context: Any, one: Any, other: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            kind = args[0].type
            function = builder.module.declare_intrinsic(
                name, [kind], ir.FunctionType(kind, [kind, kind])
            )
            return builder.call(function, args, fastmath=flags)

        return one(one, one), codegen

    return intrinsic(extremum)


@intrinsic
def _select(typing_context: Any, condition: Any, one: Any, other: Any) -> Any:
    """``one if condition else other``, in the type of ``one``, without a branch."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(*args)

    return one(types.boolean, one, one), codegen


@intrinsic
def _prefetch_line(typing_context: Any, address: Any) -> Any:
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


def _segment(offsets, column):
    """Index of the segment a column lies in."""
    low, high = 0, offsets.shape[0] - 1
    while high - low > 1:
        middle = (low + high) >> 1
        if offsets[middle] <= column:
            low = middle
        else:
            high = middle
    return low


def _copy(address, start, like, target, width):
    source = _values(address, start, like, width)
    for c in range(width):
        target[c] = source[c]


def _prefetch(address, start, like, width):
    """Ask for the values that ``_values`` would view, without waiting for them."""
    first = address + start * like.itemsize
    for line in range(0, width * like.itemsize, _LINE):
        _prefetch_line(first + line)


_min = _extremum("llvm.minnum")  # not for what clients sent: a signaling NaN may stay one
_min_of_numbers = _extremum("llvm.minnum", "nnan")
_max_of_numbers = _extremum("llvm.maxnum", "nnan")
_segment = njit(**_HELPER)(_segment)
_copy = njit(**_HELPER)(_copy)
_prefetch = njit(**_HELPER)(_prefetch)
