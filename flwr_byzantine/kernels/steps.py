"""What the compiled loops do to a block of rows, written as what happens to one column."""

import numpy as np

from flwr_byzantine.kernels.columnwise import columnwise, maximum, minimum, select


@columnwise
def copy(source, target):
    """A copy, in the target's type."""
    return {"target": source}


def _not_finite(value):
    return select(abs(value) < np.inf, 0.0, 1.0)


@columnwise
def load(source, target, infinite):
    """A copy in which NaN is +inf, to be sorted last."""
    value = select(source == source, source, np.inf)
    return {"target": value, "infinite": (_not_finite(value),)}


@columnwise
def exchange(low, high):
    """A comparator: the smaller value comes low, the larger high."""
    return {"low": minimum(low, high), "high": maximum(low, high)}


@columnwise
def clear(total):
    """Zero."""
    return {"total": total.constant(0.0)}


@columnwise
def add(row, total):
    """Add a row to a sum."""
    return {"total": total + row}


@columnwise
def add_four(a, b, c, d, total):
    """As ``add``, four rows one after the other, at one reading of the sum."""
    return {"total": total + a + b + c + d}


@columnwise
def add_weighted(row, weight, total):
    """Add a row times its weight to a sum."""
    return {"total": total + row * weight}


@columnwise
def add_four_weighted(a, b, c, d, weight_a, weight_b, weight_c, weight_d, total):
    """As ``add_weighted``, four rows one after the other, at one reading of the sum."""
    return {"total": total + a * weight_a + b * weight_b + c * weight_c + d * weight_d}


@columnwise
def divide(total, divisor):
    """Divide a sum."""
    return {"total": total / divisor}


@columnwise
def slide(left, right, chosen, center, tie):
    """``right`` replaces the chosen value where it is nearer to the center than ``left``."""
    to_left, to_right = center - left, right - center
    return {
        "chosen": select(to_left > to_right, right, chosen),
        "tie": tie + select(to_left == to_right, to_left, 0.0),
    }


@columnwise
def count_infinite(row, count):
    """Count, column by column, values that are not finite."""
    return {"count": count + _not_finite(row)}


@columnwise
def drop(count, limit, mean, tie):
    """Columns with more than ``limit`` values that are not finite have no mean."""
    return {
        "mean": select(count > limit, np.nan, mean),
        "tie": select(count > limit, 0.0, tie),
    }


@columnwise
def sum_columns(row, total):
    """Add all columns of a row to one number."""
    return {"total": (row,)}


@columnwise
def store_value(value, scale, out, replaced):
    """Where the value is not finite, NaN, which is counted."""
    result = (value * scale).to(out.number)
    return {"out": select(abs(result) < np.inf, result, np.nan), "replaced": (_not_finite(result),)}


@columnwise
def store_beside(base, base_weight, value, scale, out, replaced):
    """Where the result is not finite, the base's value, which is counted."""
    result = (base * base_weight + value * scale).to(out.number)
    return {"out": select(abs(result) < np.inf, result, base), "replaced": (_not_finite(result),)}


@columnwise
def copy_difference(source, base, target):
    """A copy less the base, taken in the target's type."""
    return {"target": source.to(target.number) - base}


@columnwise
def add_products(a, b, total):
    """Add the inner product of two rows to one number."""
    return {"total": (a * b,)}
