"""Random bytes for the reader of tensors. As a program: ``python fuzz_npy.py -max_total_time=60``."""

import io
import sys

import numpy as np

from flwr_byzantine.aggregation.npy import MalformedTensorError, decode

HEADERS = [
    "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }",
    "{'descr': '>f8', 'fortran_order': True, 'shape': (2, 3), }",
    "{'descr': '|b1', 'fortran_order': False, 'shape': (), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 4611686018427387904), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (250000000000,), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (-3,), }",
    "{'descr': '|O', 'fortran_order': False, 'shape': (3,), }",
    "{'descr': [('x', '<f4', (1000000,))], 'fortran_order': False, 'shape': (3,), }",
    "{'descr': '<U4', 'fortran_order': False, 'shape': (3,), }",
    "{'descr': '<f4', 'fortran_order': 1, 'shape': [3], }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (True, 3.0), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (3L,), }",
    '{ "shape" : (3,) , "descr":"<f4","fortran_order" : False}',
    "(" * 100 + ")" * 100,
    "-" * 3000 + "1",
    "__import__('os').abort()",
]

IN_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")


def npy(header, data=bytes(12), version=1):
    """An .npy file with any header."""
    text = header.encode("latin1") if isinstance(header, str) else header
    size = len(text).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + size + text + data


def saved(array):
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


SEEDS = [
    *[npy(header) for header in HEADERS],
    npy(HEADERS[0], version=2),
    npy(HEADERS[1], version=3),
    saved(np.arange(6, dtype=">i2").reshape(2, 3)),
    saved(np.asfortranarray(np.ones((2, 3)))),
    saved(np.array([None, {}], object)),
    b"",
    b"\x80\x04N.",
]


def check(data):
    """What is read equals what numpy reads, and is no larger than the data. All else raises our own error."""
    try:
        array = decode(data)
    except MalformedTensorError:
        return
    assert array.nbytes <= len(data)
    assert array.dtype.kind in "fiub"
    # numpy is strict about spaces in version 3.0 only, and on Python 3.12 and newer about lines.
    data = data[:6] + min(data[6:8], b"\2\0") + data[8:]
    start, end = 10 if data[6] == 1 else 12, len(data) - array.nbytes
    data = data[:start] + data[start:end].translate(IN_ONE_LINE) + data[end:]
    if array.size:
        np.testing.assert_array_equal(array, np.load(io.BytesIO(data), allow_pickle=False))


def mutated(rng):
    """Bytes that differ from a seed in a few places."""
    data = bytearray(SEEDS[rng.integers(len(SEEDS))])
    for _ in range(rng.integers(1, 6)):
        at = int(rng.integers(len(data) + 1))
        kind = rng.integers(5)
        if kind == 0:
            data[at : at + 1] = bytes([rng.integers(256)])
        elif kind == 1:
            del data[at : at + int(rng.integers(1, 20))]
        elif kind == 2:
            data[at:at] = rng.bytes(int(rng.integers(1, 20)))
        elif kind == 3:
            data[at:at] = rng.choice([b"(", b"9" * 30, b"-1", b"'<f8'", b"None", b"\n", b"{", b","])
        else:
            other = SEEDS[rng.integers(len(SEEDS))]
            data[at:] = other[at:]
    return bytes(data)


if __name__ == "__main__":
    import atheris

    from flwr_byzantine.aggregation import npy as payload

    for function in (decode, payload._header_length, payload._header.__wrapped__, payload._entries):
        atheris.instrument_func(function)
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()
