"""Loops over columns, written as what happens to the values of one column.

A function decorated with :func:`columnwise` names pointers to rows, and numbers that are the same for
all columns. It is called once, while the loop around it is compiled, with symbols in their place, and
the operations on these become vector instructions. numba would infer the types of such a loop and LLVM
would try to vectorize it: both take several times as long, and whether LLVM succeeds depends on the
processor.
"""

import inspect
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_REGISTER = 64 if binding.get_host_cpu_features().get("avx512f") else 32  # bytes
_FLOAT, _DOUBLE, _INDEX = ir.FloatType(), ir.DoubleType(), ir.IntType(32)


Column = Callable[..., dict[str, "Value | Iterable[Value]"]]


class Value:
    """A column's value while a loop is translated: a number, or whether a comparison holds.

    Numbers are float32 or float64; an operation on both is done in float64. A Python number takes the
    type of the other operand.
    """

    def __init__(self, builder: Any, value: Any, compared: "Value | None" = None) -> None:
        self.builder = builder
        self.value = value
        self.compared = compared

    @property
    def number(self) -> Any:
        """Type of one number."""
        return getattr(self.value.type, "element", self.value.type)

    def constant(self, number: float) -> "Value":
        """The same number, in this value's type, for every column."""
        kind = self.value.type
        vector = isinstance(kind, ir.VectorType)
        constant = ir.Constant(kind, [float(number)] * kind.count if vector else float(number))
        return Value(self.builder, constant)

    def to(self, number: Any) -> "Value":
        """The value as a float32 or a float64, rounded where it must be."""
        if self.number == number:
            return self
        kind = self.value.type
        target = ir.VectorType(number, kind.count) if isinstance(kind, ir.VectorType) else number
        convert = self.builder.fpext if number == _DOUBLE else self.builder.fptrunc
        return Value(self.builder, convert(self.value, target))

    def alike(self, other: "Value | float") -> tuple["Value", "Value"]:
        """Both values in the wider of their types."""
        if not isinstance(other, Value):
            return self, self.constant(other)
        wide = _FLOAT if self.number == other.number == _FLOAT else _DOUBLE
        return self.to(wide), other.to(wide)

    def call(self, name: str, *others: "Value | float", flags: tuple[str, ...] = ()) -> "Value":
        """Result of one of LLVM's intrinsic functions, which all values must share the type of."""
        values = [self.value, *(self.alike(other)[1].value for other in others)]
        kind = self.value.type
        count = f"v{kind.count}" if isinstance(kind, ir.VectorType) else ""
        size = "f32" if self.number == _FLOAT else "f64"
        signature = ir.FunctionType(kind, [kind] * len(values))
        module = self.builder.module
        function = module.declare_intrinsic(f"{name}.{count}{size}", (), signature)
        return Value(self.builder, self.builder.call(function, values, fastmath=flags))

    def _operate(
        self, operation: str, other: "Value | float", flags: tuple[str, ...] = ()
    ) -> "Value":
        one, two = self.alike(other)
        result = getattr(self.builder, operation)(one.value, two.value, flags=flags)
        return Value(self.builder, result)

    def _compare(self, sign: str, other: "Value | float") -> "Value":
        one, two = self.alike(other)
        holds = self.builder.fcmp_ordered(sign, one.value, two.value)
        return Value(self.builder, holds, one)

    def __add__(self, other: "Value | float") -> "Value":
        return self._operate("fadd", other)

    def __sub__(self, other: "Value | float") -> "Value":
        return self._operate("fsub", other)

    def __mul__(self, other: "Value | float") -> "Value":
        # May be fused with an addition that allows it too: that of a sum over columns.
        return self._operate("fmul", other, ("contract",))

    def __truediv__(self, other: "Value | float") -> "Value":
        return self._operate("fdiv", other)

    def __abs__(self) -> "Value":
        return self.call("llvm.fabs")

    def __lt__(self, other: "Value | float") -> "Value":
        return self._compare("<", other)

    def __gt__(self, other: "Value | float") -> "Value":
        return self._compare(">", other)

    def __eq__(self, other: object) -> Any:
        return self._compare("==", other)  # type: ignore[arg-type]

    __hash__ = None  # type: ignore[assignment]


def minimum(one: Value, other: Value) -> Value:
    """The smaller of two values; NaN must not be among them."""
    return one.call("llvm.minnum", other, flags=("nnan",))


def maximum(one: Value, other: Value) -> Value:
    """The larger of two values; NaN must not be among them."""
    return one.call("llvm.maxnum", other, flags=("nnan",))


def select(condition: Value, one: Value | float, other: Value | float) -> Value:
    """``one`` where the condition holds, ``other`` elsewhere; both may be numbers."""
    assert condition.compared is not None
    known = next((v for v in (one, other) if isinstance(v, Value)), condition.compared)
    one, other = (v if isinstance(v, Value) else known.constant(v) for v in (one, other))
    one, other = one.alike(other)
    return Value(known.builder, known.builder.select(condition.value, one.value, other.value))


def columnwise(function: Column | None = None, *, registers: int = 2) -> Any:
    """Make a loop over columns of a function of one column, for use in functions compiled by numba.

    Parameters
    ----------
    function : Callable
        Its parameters are rows, given as pointers, and float64 numbers. It returns, for some of the
        rows, the value to be stored, or several values: their sums over the columns are added to the
        row's first numbers.
    registers : int
        How many vector registers one value takes, of the widest type among the rows: 2 where an
        iteration holds few values, 1 where it holds many.

    Returns
    -------
    Callable
        The loop. It takes one more argument, the width: the number of columns. Within an iteration all
        values are read before any is stored, so that rows may be the same one; rows that overlap
        otherwise are not allowed.

    Examples
    --------
    >>> @columnwise
    ... def exchange(low, high):
    ...     return {"low": minimum(low, high), "high": maximum(low, high)}
    """
    if function is None:
        return partial(columnwise, registers=registers)
    names = list(inspect.signature(function).parameters)

    def definition(typing_context: Any, *kinds: Any) -> Any:
        widest = max(kind.dtype.bitwidth for kind in kinds if isinstance(kind, types.CPointer))
        lanes = registers * _REGISTER * 8 // widest

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            arguments, width = dict(zip(names, args, strict=False)), args[-1]
            zero, one = ir.Constant(width.type, 0), ir.Constant(width.type, 1)
            step = ir.Constant(width.type, lanes)
            whole = builder.and_(width, ir.Constant(width.type, -lanes))
            _loop(function, builder, arguments, zero, whole, step)
            _loop(function, builder, arguments, whole, width, one)
            return context.get_dummy_value()

        return types.void(*kinds), codegen

    definition.__name__ = definition.__qualname__ = function.__name__
    definition.__doc__ = function.__doc__
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(name, kind) for name in ("typing_context", *names, "width")]
    definition.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return intrinsic(definition)


def _loop(
    function: Column,
    builder: Any,
    arguments: dict[str, Any],
    start: Any,
    stop: Any,
    step: Any,
) -> None:
    """Columns ``start`` to ``stop``, ``step`` at a time."""
    lanes, before = step.constant, builder.block
    sums = []
    with cgutils.for_range_slice(builder, start, stop, step, start.type) as (column, _):
        places, values = {}, {}
        for name, argument in arguments.items():
            if isinstance(argument.type, ir.PointerType):
                places[name] = _place(builder, argument, column, lanes)
                value = builder.load(places[name], align=_size(argument.type.pointee))
            else:
                value = _spread(builder, argument, lanes)
            values[name] = Value(builder, value)
        for name, result in function(**values).items():
            number = arguments[name].type.pointee
            if isinstance(result, Value):
                value = result.to(number).value
                builder.store(value, places[name], align=_size(number))
                continue
            for position, term in enumerate(result):
                total = cgutils.alloca_once(builder, term.value.type)  # type: ignore[no-untyped-call]
                with builder.goto_block(before):
                    builder.store(term.constant(0.0).value, total)
                added = builder.fadd(builder.load(total), term.value, flags=("contract",))
                builder.store(added, total)
                sums.append((arguments[name], position, total))
        last = builder.block
    last.terminator.set_metadata("llvm.loop", _as_it_is(builder.module))
    for row, position, total in sums:
        place = builder.gep(row, [ir.Constant(start.type, position)])
        term = Value(builder, _sum(builder, builder.load(total))).to(row.type.pointee)
        builder.store(builder.fadd(builder.load(place), term.value), place)


def _as_it_is(module: Any) -> Any:
    """What tells LLVM to leave a loop so: unrolled, it would need more registers than there are."""
    rule = module.add_metadata([ir.MetaDataString(module, "llvm.loop.disable_nonforced")])
    loop = module.add_metadata([rule])
    loop.operands = (loop, rule)  # LLVM knows a loop by metadata that contains itself
    return loop


def _size(number: Any) -> int:
    return 4 if number == _FLOAT else 8


def _place(builder: Any, row: Any, column: Any, lanes: int) -> Any:
    """Pointer to the values of some columns of a row."""
    place = builder.gep(row, [column])
    if lanes == 1:
        return place
    return builder.bitcast(place, ir.VectorType(row.type.pointee, lanes).as_pointer())


def _spread(builder: Any, number: Any, lanes: int) -> Any:
    """One number for every lane."""
    if lanes == 1:
        return number
    empty = ir.Constant(ir.VectorType(number.type, lanes), ir.Undefined)
    first = builder.insert_element(empty, number, _INDEX(0))
    return builder.shuffle_vector(
        first, empty, ir.Constant(ir.VectorType(_INDEX, lanes), [0] * lanes)
    )


def _sum(builder: Any, value: Any) -> Any:
    """Sum over the lanes: of the halves, and of their halves."""
    if not isinstance(value.type, ir.VectorType):
        return value
    while value.type.count > 1:
        half = value.type.count // 2
        low, high = (
            ir.Constant(ir.VectorType(_INDEX, half), list(range(first, first + half)))
            for first in (0, half)
        )
        value = builder.fadd(
            builder.shuffle_vector(value, value, low), builder.shuffle_vector(value, value, high)
        )
    return builder.extract_element(value, _INDEX(0))
