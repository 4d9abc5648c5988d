"""What the compiled loops share: how they are compiled, and how they find the values they read."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from flwr_byzantine.kernels.columns import LINE

# Nothing here allocates, so nothing needs numba's reference counts, which take long to compile.
_OPTIONS = {"error_model": "numpy", "no_cfunc_wrapper": True, "_nrt": False}
_DRIVER = {**_OPTIONS, "nogil": True}
_HELPER = {**_OPTIONS, "no_cpython_wrapper": True}


def _digest() -> str:
    """Digest of the sources that machine code is made of."""
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:12]


def _compile(function: Callable[..., Any]) -> Any:
    """Compile on first call, and keep the machine code on disk where there is a place for it.

    numba keeps it under the function's name, until the function's own file changes. The name holds all
    sources, so that no change in one of the others leaves old code in use.
    """
    function.__qualname__ += f"_{_SOURCES}"
    try:
        return njit(cache=True, **_DRIVER)(function)
    except RuntimeError:  # no writable cache folder
        return njit(**_DRIVER)(function)


_SOURCES = _digest()


@intrinsic
def _at(typing_context: Any, address: Any, start: Any, like: Any) -> Any:
    """Pointer to position ``start`` of the values at an address, of the type of the array ``like``."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        first = builder.inttoptr(args[0], context.get_data_type(like.dtype).as_pointer())
        return builder.gep(first, [args[1]])

    return types.CPointer(like.dtype)(types.intp, types.intp, like), codegen


@intrinsic
def _row(typing_context: Any, array: Any, i: Any) -> Any:
    """Pointer to row i of a contiguous array of two dimensions."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        struct = context.make_array(array)(context, builder, args[0])
        columns = builder.extract_value(struct.shape, 1)
        return builder.gep(struct.data, [builder.mul(args[1], columns)])

    return types.CPointer(array.dtype)(array, types.intp), codegen


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


def _prefetch(address, start, like, width):
    """Ask for values from position ``start`` on, without waiting for them."""
    first = address + start * like.itemsize
    for line in range(0, width * like.itemsize, LINE):
        _prefetch_line(first + line)


_segment = njit(**_HELPER)(_segment)
_prefetch = njit(**_HELPER)(_prefetch)
