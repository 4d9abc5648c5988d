"""A tensor on the wire is an .npy file in bytes: view it without copying, or refuse it.

Nothing here trusts a header: it is parsed as a literal, never unpickled, and the size it claims must be
the size that is there before a view is made, so no header makes the server allocate anything.
"""

import math
from functools import lru_cache
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_PREFIX = 12  # magic, version and header length of format 2.0, the longer one
_MAX_AXES, _MAX_SIZE = 32, 1 << 63
_MAX_HEADER = 4096  # bytes; numpy writes 128 for any tensor of a model


class MalformedTensorError(ValueError):
    """Bytes that are not a tensor this library reads; its text is the reason, short and printable."""

    def __init__(self, reason: object) -> None:
        super().__init__(clip(reason))


def clip(text: object, limit: int = 200) -> str:
    """Make what a client wrote fit for a log: one line, printable, not long.

    Examples
    --------
    >>> clip("one" + chr(10) + "two", limit=6)
    'one?tw...'
    """
    whole = str(text)
    shown = "".join(c if c.isprintable() else "?" for c in whole[:limit])
    return shown + "..." if len(whole) > limit else shown


def decode(data: bytes) -> Array:
    """View the tensor that an .npy file in bytes holds.

    Parameters
    ----------
    data : bytes
        What ``numpy.save`` writes, in format 1.0 or 2.0.

    Returns
    -------
    np.ndarray
        Read-only; shares memory with ``data`` (a view in Fortran order or foreign byte order where the
        file is).

    Raises
    ------
    MalformedTensorError
        If the bytes are no .npy file, claim another size than they have, or hold anything but
        floating-point, integer or boolean numbers.

    Examples
    --------
    >>> decode(encode(np.arange(3.0)))
    array([0., 1., 2.])
    """
    if not isinstance(data, bytes):
        raise MalformedTensorError(f"expected bytes, found {type(data).__name__}")
    header_end = _header_length(data[:_PREFIX])
    dtype, fortran_order, shape = _header(data[:header_end])
    count = math.prod(shape)
    if count * dtype.itemsize != len(data) - header_end:
        raise MalformedTensorError(
            f"header claims {count * dtype.itemsize} bytes, found {max(0, len(data) - header_end)}"
        )
    flat = np.frombuffer(data, dtype, count, header_end) if count else np.empty(0, dtype)
    try:
        return flat.reshape(shape, order="F" if fortran_order else "C")
    except (ValueError, OverflowError):  # an empty tensor of an absurd shape
        raise MalformedTensorError(f"shape {shape[:8]}") from None


def encode(array: Array) -> bytes:
    """Write a tensor as ``numpy.save`` does, copying it once.

    Parameters
    ----------
    array : np.ndarray
        Any shape; numbers.

    Returns
    -------
    bytes
        An .npy file, format 1.0.
    """
    contiguous = np.ascontiguousarray(array).reshape(array.shape)
    buffer = BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, np.lib.format.header_data_from_array_1_0(contiguous)
    )
    return b"".join([buffer.getvalue(), contiguous.reshape(-1).view(np.uint8).data])


def _header_length(prefix: bytes) -> int:
    magic, version = prefix[:6], tuple(prefix[6:8])
    if magic != b"\x93NUMPY" or len(prefix) < _PREFIX or version not in ((1, 0), (2, 0)):
        raise MalformedTensorError("not an .npy file of format 1.0 or 2.0")
    start = 10 if version == (1, 0) else 12
    length = start + int.from_bytes(prefix[8:start], "little")
    if length > _MAX_HEADER:
        raise MalformedTensorError(f"header of {length} bytes, at most {_MAX_HEADER} expected")
    return length


@lru_cache(maxsize=4096)
def _header(header: bytes) -> tuple[np.dtype[Any], bool, tuple[int, ...]]:
    """Parse a header; all clients send the same ones, so each is parsed once."""
    formats = np.lib.format
    read = formats.read_array_header_1_0 if header[6] == 1 else formats.read_array_header_2_0
    try:
        shape, fortran_order, dtype = read(BytesIO(header[8:]))
    except Exception as error:  # whatever the parser trips over, the bytes are the client's
        raise MalformedTensorError(f"unreadable header ({type(error).__name__})") from None
    if dtype.kind not in "fiub" or dtype.itemsize > 8:
        raise MalformedTensorError(
            f"dtype {dtype}, expected floating-point, integer or boolean numbers"
        )
    if len(shape) > _MAX_AXES or any(not 0 <= size < _MAX_SIZE for size in shape):
        raise MalformedTensorError("more axes than 32, or a size that no tensor has")
    return dtype, bool(fortran_order), shape
