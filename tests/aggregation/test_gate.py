"""The gate compares what clients sent with what was expected of them."""

import numpy as np
import pytest
from cases import quickly
from hypothesis import given
from hypothesis import strategies as st

from flwr_byzantine.aggregation.apply import lower_median
from flwr_byzantine.aggregation.gate import Model, Reply, gate, in_order
from flwr_byzantine.aggregation.npy import encode

W, B = np.ones((2, 3), np.float32), np.zeros(3, np.float32)
MODEL = Model(("w", "b"), (W, B))


def reply(client, *tensors, names="wb", **kwargs):
    return Reply(client, [(n, encode(t)) for n, t in zip(names, tensors, strict=True)], **kwargs)


def test_accepted_tensors_are_views_of_the_bytes():
    sent = reply("1", W, B)
    gated = gate([sent], MODEL)
    for tensor, (_, data) in zip(gated.accepted["1"], sent.tensors, strict=True):
        assert np.shares_memory(tensor, np.frombuffer(data, np.uint8))
        assert not tensor.flags.writeable


def test_tensors_are_put_in_the_models_order():
    gated = gate([reply("1", B, W, names="bw")], MODEL)
    assert [tensor.shape for tensor in gated.accepted["1"]] == [(2, 3), (3,)]


@pytest.mark.parametrize(
    ("tensors", "names", "reason"),
    [
        ((W, B[:1]), "wb", "tensor b: shape (1,), expected (3,)"),
        ((W.T, B), "wb", "tensor w: shape (3, 2), expected (2, 3)"),
        ((W, B.astype(np.int32)), "wb", "tensor b: dtype int32, expected float32"),
        ((W, B, B), "wbc", "3 tensors, expected 2"),
        ((W,), "w", "1 tensors, expected 2"),
        ((W, B), "wc", "missing ['b'], extra ['c']"),
        ((W, B), "ww", "missing ['b'], extra []"),
    ],
)
def test_reasons_say_what_is_wrong(tensors, names, reason):
    gated = gate([reply("7", *tensors, names=names), reply("8", W, B)], MODEL)
    assert list(gated.accepted) == ["8"]
    assert reason in gated.dropped["7"]


@pytest.mark.parametrize(
    "tensors",
    [
        None, 3, "wb", [1, 2], [("w",), ("b",)], [("w", None), ("b", 1)],
        [(1, encode(W)), (None, encode(B))], [([], encode(W)), ("b", encode(B))],
    ],
)  # fmt: skip
def test_anything_in_place_of_tensors_is_refused(tensors):
    for model in (MODEL, None):
        gated = gate([Reply("7", tensors), *[reply(str(i), W, B) for i in range(3)]], model)
        assert list(gated.accepted) == ["0", "1", "2"]
        assert gated.dropped["7"]


def test_the_first_reply_of_a_client_stands():
    gated = gate(
        [reply("1", W, B), reply("1", W + 1, B), Reply("2", malformed="x"), reply("2", W, B)], MODEL
    )
    assert list(gated.accepted) == ["1"]
    assert (gated.accepted["1"][0] == 1).all()
    assert gated.dropped == {"2": "x"}


def test_without_a_model_the_look_of_most_replies_is_the_structure():
    odd = [reply(f"odd{i}", W.T, B) for i in range(2)]
    even = [reply(f"even{i}", W, B) for i in range(3)]
    for replies in (odd + even, even + odd):
        gated = gate(replies, None)
        assert set(gated.accepted) == {"even0", "even1", "even2"}
        assert gated.structure.signature == MODEL.signature
    assert gate([], None).structure is None
    assert gate([Reply("1", malformed="x")], None).accepted == {}


def test_precision_is_the_majoritys_and_everyone_is_cast_to_it():
    replies = [reply("0", W.astype(np.float16), B), *[reply(str(i), W, B) for i in (1, 2)]]
    gated = gate([*replies, reply("3", W.astype(">f8"), B)], None)
    assert set(gated.accepted) == {"0", "1", "2", "3"}
    assert {tensor.dtype for tensors in gated.accepted.values() for tensor in tensors} == {W.dtype}


def test_order_is_by_number_then_by_name():
    names = ["b", "10", "9", "a", "²", "1000"]
    assert [r.client for r in in_order(map(Reply, names), None)] == [
        "9",
        "10",
        "1000",
        "a",
        "b",
        "²",
    ]


@given(
    st.lists(
        st.one_of(st.integers(0, 9), st.just(10**400), st.floats(), st.text(), st.none()),
        max_size=9,
    )
)
@quickly
def test_whatever_clients_report_as_their_place_they_can_be_ordered(places):
    replies = [Reply(str(i), metrics={"place": place}) for i, place in enumerate(places)]
    ordered = in_order(replies, "place")
    assert sorted(r.client for r in ordered) == sorted(r.client for r in replies)
    assert ordered == in_order(replies[::-1], "place")
    wholes = [r.metrics["place"] for r in ordered if isinstance(r.metrics["place"], int)]
    assert wholes == sorted(wholes)


@pytest.mark.parametrize(
    ("values", "expected"), [([3, 1, 2], 2), ([4, 1, 2, 3], 2), ([7], 7), ([-5, 10**12, 0, 1], 0)]
)
def test_lower_median_is_one_of_the_values(values, expected):
    result = lower_median([np.array([v], np.int64) for v in values])
    assert result == [expected]
    assert result.dtype == np.int64


def test_lower_median_of_booleans_and_of_nothing():
    assert not lower_median([np.array(True), np.array(False)])
    assert lower_median([np.array(True)] * 2 + [np.array(False)]).dtype == np.bool_
    assert lower_median([np.zeros((0, 2), np.int8)] * 3).shape == (0, 2)
