"""Tensors in bytes: those that numpy writes are viewed, and malformed ones are refused at little cost."""

import contextlib
import io
import struct
import time
import tracemalloc

import numpy as np
import pytest
from cases import quickly
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from flwr_byzantine.aggregation.npy import MalformedTensorError, _header, decode, encode

DTYPES = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?"]


def npy(array, version=None):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(array), version=version)
    return buffer.getvalue()


def written(header, body=b"", version=(1, 0)):
    """An .npy file with a header of the test's own."""
    text = header if isinstance(header, bytes) else header.encode()
    length = struct.pack("<H" if version[0] == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes(version) + length + text + body


def claiming(descr="'<f4'", order="False", shape="(2,)", extra=""):
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, {extra}}}\n"


@given(
    hnp.arrays(
        st.sampled_from(DTYPES).flatmap(
            lambda t: st.sampled_from([np.dtype("<" + t), np.dtype(">" + t)])
        ),
        hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
    ),
    st.booleans(),
    st.sampled_from([(1, 0), (2, 0), (3, 0), None]),
)
@quickly
def test_decodes_what_numpy_writes(array, fortran, version):
    array = np.asfortranarray(array) if fortran else array
    array = array.reshape(array.shape, order="A")
    result = decode(npy(array, version))
    assert (result.dtype, result.shape) == (array.dtype, array.shape)
    assert result.tobytes() == array.tobytes()


@given(hnp.arrays(st.sampled_from(DTYPES), hnp.array_shapes(min_dims=0, min_side=0)), st.data())
@quickly
def test_encodes_what_numpy_reads(array, data):
    view = data.draw(st.sampled_from([array, array.T, array[..., ::2] if array.ndim else array]))
    buffer = encode(view)
    result = np.load(io.BytesIO(buffer), allow_pickle=False)
    assert (result.dtype, result.shape) == (view.dtype, view.shape)
    assert result.tobytes() == view.tobytes() == decode(buffer).tobytes()
    assert buffer == npy(np.array(view, order="C"), (1, 0))


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize("order", "CF")
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f2", "<i8", "?"])
def test_shares_memory_with_the_bytes(version, order, dtype):
    data = npy(np.ones((3, 4), dtype, order=order), version)
    array = decode(data)
    assert np.shares_memory(array, np.frombuffer(data, np.uint8))
    assert not array.flags.writeable
    assert array.flags[f"{order}_CONTIGUOUS"]


def test_decoding_copies_nothing():
    data = encode(np.zeros(1 << 22, np.float32))
    assert peak(lambda: decode(data)) < 1 << 16


def peak(function):
    """The most bytes that are allocated while a function runs."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


GOOD = encode(np.arange(6, dtype=np.float32))

MALFORMED = {
    "nothing": b"",
    "magic only": b"\x93NUMPY",
    "magic and version": b"\x93NUMPY\x01\x00",
    "other magic": b"\x93NUMPX" + GOOD[6:],
    "format 3.0 with the length of 1.0": b"\x93NUMPY\x03\x00" + GOOD[8:],
    "format 4.0": b"\x93NUMPY\x04\x00" + GOOD[8:],
    "format 0.0": b"\x93NUMPY\x00\x00" + GOOD[8:],
    "format 1.1": b"\x93NUMPY\x01\x01" + GOOD[8:],
    "zip archive": b"PK\x03\x04" + bytes(100),
    "one byte less": GOOD[:-1],
    "one byte more": GOOD + b"\x00",
    "half a header": GOOD[:40],
    "header only": GOOD[:128],
    "no header": written(""),
    "header of zeros": written(bytes(100)),
    "header of 4 GB": b"\x93NUMPY\x02\x00" + b"\xff" * 4 + bytes(200),
    "header of 64 kB": written(claiming() + " " * 60000, bytes(8)),
    "header that is code": written("__import__('os').abort()\n"),
    "header that is a list": written("[1, 2]\n"),
    "header of brackets": written("(" * 3000),
    "header of minus signs": written("-" * 3000 + "1"),
    "header that is no text": written(b"\xff\xfe" * 50),
    "header of 513 bytes": written(f"{claiming():513}", bytes(8)),
    "key twice": written(claiming(extra="'shape': (2,)"), bytes(8)),
    "key twice, another missing": written("{'descr': '<f4', 'descr': '<f4', 'shape': (2,)}", bytes(8)),
    "two commas": written(claiming(extra=","), bytes(8)),
    "two commas in the shape": written(claiming(shape="(2,,)"), bytes(8)),
    "a number in brackets": written(claiming(shape="(2)"), bytes(8)),
    "more after the end": written(claiming() + "1", bytes(8)),
    "a comment": written(claiming() + "# 1", bytes(8)),
    "keys missing": written("{'descr': '<f4'}\n"),
    "keys too many": written(claiming(extra="'more': 1"), bytes(8)),
    "text": npy(np.array(["a", "b"])),
    "bytes": npy(np.array([b"a", b"b"])),
    "complex": npy(np.ones(2, complex)),
    "long double": npy(np.ones(2, np.longdouble)),
    "dates": npy(np.array(["2020-01-01"], "datetime64[D]")),
    "records": npy(np.zeros(2, [("a", "f4"), ("b", "i4")])),
    "objects": npy(np.array([1, None], object)),
    "raw bytes": written(claiming("'|V4'"), bytes(8)),
    "rows as a dtype": written(claiming("('<f4', (2,))", shape="(1,)"), bytes(8)),
    "no such dtype": written(claiming("'<q9'"), bytes(8)),
    "dtype that is a number": written(claiming("4"), bytes(8)),
    "order that is a number": written(claiming(order="7"), bytes(8)),
    "shape that is a number": written(claiming(shape="2"), bytes(8)),
    "shape that is a list": written(claiming(shape="[2]"), bytes(8)),
    "shape of floats": written(claiming(shape="(2.0,)"), bytes(8)),
    "shape of text": written(claiming(shape="('2',)"), bytes(8)),
    "negative shape": written(claiming(shape="(-2,)"), bytes(8)),
    "two negatives": written(claiming(shape="(-1, -2)"), bytes(8)),
    "a terabyte": written(claiming(shape="(250000000000,)"), bytes(64)),
    "a terabyte of rows": written(claiming(shape="(500000, 500000)"), bytes(64)),
    "beyond 64 bits": written(claiming(shape="(2, 9223372036854775808)"), bytes(64)),
    "wrapping round to the right size": written(claiming(shape="(4611686018427387905, 4)"), bytes(16)),
    "a number of 4,000 digits": written(claiming(shape=f"({'9' * 4000},)"), bytes(8)),
    "a number of 3,900 hexadecimal digits": written(claiming(shape=f"(0x{'f' * 3900},)"), bytes(8)),
    "a hundred axes": written(claiming(shape=f"({'1, ' * 100})"), bytes(4)),
    "nothing of an absurd shape": written(claiming(shape="(0, 9223372036854775807, 99)")),
}  # fmt: skip


@pytest.mark.parametrize("name", MALFORMED)
@pytest.mark.filterwarnings("ignore")
def test_malformed_bytes_are_refused_for_next_to_nothing(name):
    def refuse():
        with pytest.raises(MalformedTensorError) as error:
            decode(MALFORMED[name])
        assert 0 < len(str(error.value)) < 300

    assert peak(refuse) < 1 << 16


WRITERS = {
    "keys in another order": "{'shape': (2,), 'fortran_order': False, 'descr': '<f4'}",
    "double quotes": '{"descr": "<f4", "fortran_order": False, "shape": (2,)}',
    "no spaces": "{'descr':'<f4','fortran_order':False,'shape':(2,),}",
    "spaces everywhere": "{ 'descr' : '<f4' ,\t'fortran_order' : False , 'shape' : ( 2 , ) , }  \n",
    "lines": "{'descr': '<f4',\n 'fortran_order': False,\r\n 'shape': (2,)}\n",
    "Fortran order": claiming(order="True"),
    "sizes of Python 2": claiming(shape="(2L,)"),
    "two sizes of Python 2": claiming(shape="(1L, 2L )"),
    "a dtype's name": claiming("'float32'"),
    "native byte order": claiming("'=f4'"),
    "header of 512 bytes": f"{claiming().rstrip():511}\n",
}


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize("header", WRITERS.values(), ids=WRITERS)
@pytest.mark.filterwarnings("ignore::UserWarning")  # numpy warns of headers of Python 2
def test_reads_what_other_writers_write(header, version):
    data = written(header, np.array([1, 2], np.float32).tobytes(), version)
    assert decode(data).ravel().tolist() == [1, 2]
    if version < (3, 0):  # Python 2 wrote no version 3, and numpy allows no spaces in it
        np.testing.assert_array_equal(decode(data), np.load(io.BytesIO(data)))


SLOW = {  # headers on which a tokeniser, or a regular expression that backtracks, is slow
    "sizes of Python 2": claiming(shape="(" + "1L, " * 30 + "2L)"),
    "many sizes": claiming(shape="(" + "1," * 220 + ")"),
    "one long size": claiming(shape="(" + "1" * 440 + ",)"),
    "spaces in a size": claiming(shape="(2," + " " * 440 + "x)"),
    "spaces after the start": "{" + " " * 510,
    "commas": claiming(extra="," * 440),
    "quotes": claiming("'" * 440),
    "brackets": "(" * 512,
    "a long dtype": claiming("'<" + "f" * 440 + "'"),
}


@pytest.mark.parametrize("header", SLOW.values(), ids=SLOW)
def test_no_header_takes_long(header):
    """Hundreds of tensors of one hostile reply once took as long as hundreds of honest replies.

    The hostile headers are compared with honest ones in the same run. They take up to three times as long.
    With numpy's tokeniser they took up to three hundred times as long.
    """

    def hostile(i):
        return written(f"{header[:500]}{i:12}", bytes(8))

    def honest(i):
        return written(claiming(shape=f"({i}, 0)"))

    def refused(data):
        with contextlib.suppress(MalformedTensorError):
            decode(data)
            pytest.fail("It was read.")

    def seconds(read, make):
        """The least of five times that 400 headers take. They are all different, so that none is cached."""
        taken = []
        for start in range(0, 2000, 400):
            tensors = [make(i) for i in range(start, start + 400)]
            before = time.process_time()
            for data in tensors:
                read(data)
            taken.append(time.process_time() - before)
        return min(taken)

    _header.cache_clear()
    assert seconds(refused, hostile) < 10 * seconds(decode, honest)


@pytest.mark.parametrize("data", [None, 3, "text", bytearray(GOOD), memoryview(GOOD), np.ones(2)])
def test_only_bytes_are_decoded(data):
    with pytest.raises(MalformedTensorError, match="expected bytes"):
        decode(data)


@given(st.binary(max_size=300))
@quickly
def test_noise_is_refused(noise):
    for data in (noise, GOOD[:8] + noise, GOOD[:10] + noise):
        with pytest.raises(MalformedTensorError):
            decode(data)


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
@quickly
@pytest.mark.filterwarnings("ignore")
def test_a_changed_byte_is_refused_or_read(place, change):
    data = bytearray(GOOD)
    data[place] ^= change
    try:
        array = decode(bytes(data))
    except MalformedTensorError:
        return
    assert array.nbytes == 24


@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 0, 4), ()])
def test_tensors_without_values_or_axes(shape):
    assert decode(encode(np.ones(shape, np.float32))).shape == shape
