"""Reads tensors, which clients send as the bytes of .npy files: views them without a copy, or refuses them.

Nothing here trusts a header. A regular expression reads it in linear time, in place of Python's parser and
numpy's tokeniser. A view is made only if the claimed size is the real size. So no header can make the server
allocate memory, or work for longer than for an honest header.
"""

import math
import re
from collections.abc import Sequence
from functools import lru_cache
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_PREFIX = 12  # magic, version and header length of formats 2.0 and 3.0, the longer ones
_VERSIONS = ((1, 0), (2, 0), (3, 0))
_MAX_AXES, _MAX_SIZE = 32, 1 << 63
_MAX_HEADER = 512  # bytes; numpy writes 118 for any tensor of a model

# One of the three entries of a header. Possessive repetitions (`*+`) never try a second way, so the time is
# linear in the length. A size may end in L: Python 2 wrote some so, and numpy reads those files.
_ENTRY = re.compile(
    rb"""
    [ \t\r\n]*+
    (?: (['"])descr\1         [ \t\r\n]*+ : [ \t\r\n]*+ (['"])(?P<descr>[<>|=]?+[a-zA-Z?][a-zA-Z0-9]{0,15}+)\2
      | (['"])fortran_order\4 [ \t\r\n]*+ : [ \t\r\n]*+ (?P<fortran_order>True|False)
      | (['"])shape\6         [ \t\r\n]*+ : [ \t\r\n]*+ \([ \t\r\n]*+ (?P<shape>
            (?: (?: (?:0|[1-9][0-9]{0,18}+)L?+ [ \t\r\n]*+ , [ \t\r\n]*+ )++  # a comma after one size alone
                (?: (?:0|[1-9][0-9]{0,18}+)L?+ [ \t\r\n]*+ )?+ )?+ ) \)
    )
    [ \t\r\n]*+
    """,
    re.VERBOSE,
)
_END = re.compile(rb",?+[ \t\r\n]*+\}[ \t\r\n]*+")


class MalformedTensorError(ValueError):
    """Bytes are no tensor that this library reads. The text gives the reason, short and printable."""

    def __init__(self, reason: object) -> None:
        super().__init__(clip(reason))


def clip(text: object, limit: int = 200) -> str:
    """Make a client's text fit for a log: one short line of printable characters.

    Examples
    --------
    >>> clip("one" + chr(10) + "two", limit=6)
    'one?tw...'
    """
    whole = str(text)
    shown = "".join(c if c.isprintable() else "?" for c in whole[:limit])
    return shown + "..." if len(whole) > limit else shown


MOST = 20  # clients named in one line of the log; the audit names all


def in_one_line(parts: Sequence[str]) -> str:
    """Join what is said about several clients, for one line of a log.

    Examples
    --------
    >>> in_one_line(["client 7 failed: no data", "client 9 failed: no data"])
    'client 7 failed: no data; client 9 failed: no data'
    """
    more = f"; and {len(parts) - MOST} more" if len(parts) > MOST else ""
    return "; ".join(parts[:MOST]) + more


def clip_error(text: object, limit: int = 400) -> str:
    r"""Make an error fit for a log, like :func:`clip`. It keeps the end, where a traceback names the cause.

    Examples
    --------
    >>> clip_error("Traceback:\n  " + "line\n  " * 99 + "KeyError: 'x'", limit=32)
    "Tracebac ... e line KeyError: 'x'"
    """
    whole = str(text)
    if len(whole) > limit:
        start = limit // 4
        whole = f"{whole[:start].strip()} ... {whole[start - limit :].strip()}"
    return clip(" ".join(whole.split()), limit + 5)


def decode(data: bytes) -> Array:
    """View the tensor that an .npy file in bytes holds.

    Parameters
    ----------
    data : bytes
        The bytes that ``numpy.save`` writes, in format 1.0, 2.0 or 3.0.

    Returns
    -------
    np.ndarray
        A read-only view of ``data``. It is in Fortran order or foreign byte order if the file is.

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
    """Write a tensor like ``numpy.save``. It is copied once.

    Parameters
    ----------
    array : np.ndarray
        An array of numbers with any shape.

    Returns
    -------
    bytes
        An .npy file in format 1.0.
    """
    contiguous = np.ascontiguousarray(array).reshape(array.shape)
    buffer = BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, np.lib.format.header_data_from_array_1_0(contiguous)
    )
    return b"".join([buffer.getvalue(), contiguous.reshape(-1).view(np.uint8).data])


def _header_length(prefix: bytes) -> int:
    magic, version = prefix[:6], tuple(prefix[6:8])
    if magic != b"\x93NUMPY" or len(prefix) < _PREFIX or version not in _VERSIONS:
        raise MalformedTensorError("not an .npy file of format 1.0, 2.0 or 3.0")
    start = 10 if version == (1, 0) else 12
    length = int.from_bytes(prefix[8:start], "little")
    if length > _MAX_HEADER:
        raise MalformedTensorError(f"header of {length} bytes, at most {_MAX_HEADER} expected")
    return start + length


@lru_cache(maxsize=4096)
def _header(header: bytes) -> tuple[np.dtype[Any], bool, tuple[int, ...]]:
    """Read a header. All clients send the same headers, so each is read once."""
    entries = _entries(header[10 if header[6] == 1 else 12 :])
    try:
        dtype = np.dtype(entries["descr"].decode())
    except Exception:  # numpy may raise anything for a client's text
        raise MalformedTensorError(f"no dtype {entries['descr'].decode()}") from None
    if dtype.kind == "c":
        raise MalformedTensorError(
            f"complex numbers ({dtype}), which have no order; send real and imaginary parts as two tensors"
        )
    if dtype.kind not in "fiub" or dtype.itemsize > 8:
        raise MalformedTensorError(
            f"dtype {dtype}, expected floating-point, integer or boolean numbers"
        )
    shape = tuple(map(int, re.findall(rb"[0-9]++", entries["shape"])))
    if len(shape) > _MAX_AXES or any(size >= _MAX_SIZE for size in shape):
        raise MalformedTensorError("more axes than 32, or a size that no tensor has")
    return dtype, entries["fortran_order"] == b"True", shape


def _entries(text: bytes) -> dict[str, bytes]:
    """The three entries of a header's dictionary, in whatever order and spacing."""
    entries: dict[str, bytes] = {}
    at = 0
    for opening in (b"{", b",", b","):
        entry = _ENTRY.match(text, at + 1) if text[at : at + 1] == opening else None
        if entry is None:
            raise MalformedTensorError("unreadable header")
        entries |= {name: value for name, value in entry.groupdict().items() if value is not None}
        at = entry.end()
    if len(entries) != 3 or not _END.fullmatch(text, at):
        raise MalformedTensorError("unreadable header")
    return entries
