"""A user's wrong rule ends in an error that says what it returned, because compiled code checks nothing."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
from cases import gaussian
from flower import Sent, every_api, replies_of

from flwr_byzantine import rules
from flwr_byzantine.kernels import (
    Columns,
    Reduction,
    combine,
    inner_products,
    pairwise_distances,
)


@dataclass(frozen=True)
class Own(rules.Rule):
    """A rule like the one of docs/tutorials/write-a-rule.md, which returns whatever it was told to return."""

    weights_given: Any = None
    reduction_given: Any = None
    least: Any = 1
    scores_given: Any = None

    uses_distances: ClassVar[bool] = True

    @property
    def min_updates(self):
        return self.least

    def mixing(self, n, distances):
        return self.weights_given

    def reduction(self, k):
        return self.reduction_given

    def scores(self, n, distances):
        return self.scores_given


class Unmixed(Own):
    """The same rule without a mixing matrix of its own."""

    mixing = rules.Rule.mixing


UPDATES = gaussian(3, 40, dtype=np.float32)
ONE = Reduction(0)

WRONG = {  # mixing matrix, reduction, what the error names
    "trims more than there is": (None, Reduction(2), r"from 0 to 1.*Found `Reduction\(trim=2, keep=None\)`"),
    "trims all of a mix": (np.eye(3)[:2], Reduction(1), "The reduction of 2 rows.*from 0 to 0"),
    "trims less than nothing": (None, Reduction(-1), "trim=-1"),
    "trims half a row": (None, Reduction(0.5), "trim=0.5"),
    "trims true": (None, Reduction(True), "trim=True"),
    "trims text": (None, Reduction("1"), "trim='1'"),
    "trims beyond 64 bits": (None, Reduction(1 << 70), "from 0 to 1"),
    "keeps more than there is": (None, Reduction(1, keep=3 + 5000), "from 1 to 3.*keep=5003"),
    "keeps none": (None, Reduction(1, keep=0), "from 1 to 3.*keep=0"),
    "keeps less than none": (None, Reduction(0, keep=-3), "keep=-3"),
    "keeps a fraction": (None, Reduction(0, keep=1.5), "keep=1.5"),
    "another reduction": (None, {"trim": 1}, "None or a `flwr_byzantine.kernels.Reduction`"),
    "none, of unmixed rows": (None, None, "(no mixing matrix|3 rows). Override `reduction`"),
    "none, of two mixed rows": (np.ones((2, 3)), None, "2 rows. Override `reduction`"),
    "wider": (np.ones((1, 3 + 5000)), None, r"shape \(k, 3\).*Found shape \(1, 5003\)"),
    "wider, reduced": (np.ones((3, 4)), ONE, r"Found shape \(3, 4\)"),
    "narrower": (np.ones((1, 2)), None, r"Found shape \(1, 2\)"),
    "narrower, one-hot": (np.eye(2), ONE, r"Found shape \(2, 2\)"),
    "no rows": (np.empty((0, 3)), ONE, r"k >= 1.*Found shape \(0, 3\)"),
    "one axis": (np.ones(3), None, r"Found shape \(3,\)"),
    "three axes": (np.ones((1, 3, 3)), None, r"Found shape \(1, 3, 3\)"),
    "a number": (1.0, None, r"Found shape \(\)"),
    "text": (np.array([["a", "b", "c"]]), None, "dtype <U1"),
    "objects": ([[None, 1, 2]], None, "dtype object"),
    "complex": (np.ones((1, 3), complex), None, "complex128"),
    "rows of several lengths": ([[1, 2, 3], [1]], ONE, "dtype object"),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_what_a_rule_gives_is_checked_before_it_is_used(wrong):
    weights, reduction, complaint = WRONG[wrong]
    rule = Own(weights, reduction)
    for call in (rule, rule.weights):
        with pytest.raises(ValueError, match=complaint):
            call(UPDATES)


@pytest.mark.parametrize("wrong", WRONG)
def test_behind_a_pre_aggregation_too(wrong):
    weights, reduction, complaint = WRONG[wrong]
    with pytest.raises(ValueError, match=complaint):
        (rules.NearestNeighborMixing(1) >> Own(weights, reduction))(UPDATES)


@every_api
@pytest.mark.parametrize("wrong", WRONG)
def test_in_a_strategy_too(api, wrong):
    weights, reduction, complaint = WRONG[wrong]
    strategy = api.ours.strategy if api.name == "fit" else api.ours
    robust = strategy.RobustFedAvg(rule=Own(weights, reduction))
    api.hand_out(robust, [UPDATES[0]])
    with pytest.raises(ValueError, match=complaint):
        api.aggregate(robust, replies_of(api, UPDATES))


@every_api
def test_a_wrong_bound_is_found_before_the_first_round(api):
    """With min_updates = 1 and Reduction(trim=2), a round of n = 3 read memory that nobody had written."""
    with pytest.raises(ValueError, match=r"The reduction of 1 rows.*min_updates"):
        api.ours.ByzantineRobust(api.theirs.FedAvg(), rule=Unmixed(None, Reduction(2)))
    right = Unmixed(None, Reduction(2), least=5)
    api.ours.ByzantineRobust(api.theirs.FedAvg(), rule=right)
    assert right(gaussian(5, 4)).shape == (4,)


@every_api
@pytest.mark.parametrize("least", [0, -1, 1.5, True, None, "3"])
def test_bounds_are_whole_numbers(api, least):
    with pytest.raises(
        ValueError, match=r"`min_updates` of .* should be a whole number of at least 1"
    ):
        api.ours.ByzantineRobust(api.theirs.FedAvg(), rule=Own(np.eye(3), ONE, least))


@every_api
@pytest.mark.parametrize("scores", [np.zeros(2), np.zeros((3, 1)), 0.0, np.array(["a", "b", "c"])])
def test_scores_are_one_for_each_update(api, scores):
    rule = Own(np.eye(3), ONE, scores_given=scores)
    robust = api.ours.ByzantineRobust(api.theirs.FedAvg(), rule=rule)
    api.hand_out(robust, [UPDATES[0]])
    with pytest.raises(ValueError, match=r"The scores should be 3 real numbers.*Correct.*`scores`"):
        api.aggregate(robust, replies_of(api, UPDATES))


LISTS = [[[1, 0, 0]], [[0.5, 0.5, 0]], [(True, False, False)], np.array([[1, 0, 0]], np.int8)]


@pytest.mark.parametrize("weights", LISTS, ids=str)
def test_any_real_numbers_of_the_right_shape_mix(weights):
    expected = np.asarray(weights, float) @ UPDATES
    np.testing.assert_allclose(Own(weights)(UPDATES), expected[0], rtol=1e-6)
    np.testing.assert_allclose(Own(weights, ONE)(UPDATES), expected[0], rtol=1e-6)


def test_numbers_of_numpy_are_whole_numbers():
    rule = Own(None, Reduction(np.int32(1), keep=np.uint8(2)))
    expected = Own(None, Reduction(1, keep=2))(UPDATES)
    np.testing.assert_array_equal(rule(UPDATES), expected)


@pytest.mark.parametrize(
    "trim",
    [np.uint16(32768), np.int32(-(2**31)), np.uint8(130), np.int8(-128), np.uint64(2**63)],
    ids=repr,
)
def test_numbers_of_numpy_do_not_wrap_around(trim):
    """In these types, twice the trim would wrap around to zero or a small number."""
    for reduction in (Reduction(trim), Reduction(0, keep=trim)):
        with pytest.raises(ValueError, match="The reduction of 3 rows"):
            combine(
                COLUMNS, None, reduction, out=[np.zeros(30, np.float32), np.zeros(10, np.float32)]
            )


def test_bounds_of_numpy_do_not_wrap_around():
    assert rules.Bulyan(np.uint8(64)).min_updates == 259
    assert rules.TrimmedMean(np.uint8(128)).min_updates == 257
    assert rules.MultiKrum(np.int8(100), np.int8(100)).min_updates == 203


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e308])
def test_weights_that_are_not_finite_make_values_that_are_not(dtype, bad):
    """A mixed row that is not finite is one of the values that a reduction trims."""
    x = gaussian(7, 20).astype(dtype)
    weights = np.eye(7)
    weights[3] = bad
    for reduction in (Reduction(1), Reduction(1, keep=5)):
        found = Own(weights, reduction)(x)
        assert np.isfinite(found).all()
        assert (found >= x.min(axis=0)).all()
        assert (found <= x.max(axis=0)).all()
    others = np.sort(np.delete(abs(x), 3, axis=0), axis=0)  # the row that is not finite is trimmed
    expected = others[1:].mean(axis=0)
    np.testing.assert_allclose(Own(weights, Reduction(1))(abs(x)), expected, rtol=1e-5)


def test_values_that_are_not_finite_are_counted_before_the_window_moves():
    x = np.array([[-np.inf], [-np.inf], [np.inf], *[[float(i)] for i in range(1, 8)]])
    assert np.isnan(Own(None, Reduction(2))(x)).all()
    assert np.isnan(Own(None, Reduction(2, keep=1))(x)).all()


class Writing(Own):
    """It writes to the distances that it is given."""

    def mixing(self, n, distances):
        distances[:] = 0
        return np.full((1, n), 1 / n)

    def scores(self, n, distances):
        return distances.sum(axis=1)


@every_api
def test_a_rule_may_write_to_its_distances(api):
    robust = api.ours.ByzantineRobust(api.theirs.FedAvg(), rule=Writing())
    api.hand_out(robust, [UPDATES[0]])
    api.aggregate(robust, replies_of(api, UPDATES))
    assert all(record.score > 0 for record in robust.audit)


def test_masks_are_not_ignored():
    masked = np.ma.masked_greater(UPDATES, 1)
    for updates in (masked, [*masked]):
        with pytest.raises(ValueError, match="masked"):
            rules.Mean()(updates)
    with pytest.raises(ValueError, match="The mixing matrix"):
        Own(np.ma.masked_equal(np.ones((1, 3)), 0))(UPDATES)


class Lazy(list):
    """It returns a new array at every access, as a data set on disk does."""

    def __getitem__(self, i):
        item = super().__getitem__(i)
        return Lazy(item) if isinstance(item, list) else item.copy()

    def __iter__(self):
        return (self[i] for i in range(len(self)))


def test_what_was_checked_is_what_is_read():
    plain = [[row[:30] for row in UPDATES], [row[30:] for row in UPDATES]]
    columns = Columns(Lazy(plain), UPDATES.dtype, 3)
    plain[0][1] = np.zeros(3)  # too late to matter
    out = [np.zeros(30, np.float32), np.zeros(10, np.float32)]
    base = [np.zeros(30, np.float32), np.zeros(10, np.float32)]
    combine(columns, None, Reduction(1), base=Lazy(base), out=out)
    np.testing.assert_array_equal(np.concatenate(out), np.median(UPDATES, axis=0))
    expected = inner_products(COLUMNS, base)
    np.testing.assert_array_equal(inner_products(columns, Lazy(base), Lazy(base)), expected)


@dataclass(frozen=True)
class NamedF(rules.Rule):
    """A median that calls its f something else."""

    f: Any = 1
    num_byzantine: ClassVar[Any]

    @property
    def min_updates(self):
        return 3

    def reduction(self, k):
        return Reduction((k - 1) // 2)


@every_api
def test_a_rule_that_does_not_say_its_f_is_warned_of_where_buffers_need_it(api, caplog):
    model = [np.zeros(2, np.float32), np.ones(2, np.float32)]
    for rule, warned in ((NamedF(), True), (rules.Median(), False), (rules.Mean(), False)):
        caplog.clear()
        robust = api.ours.ByzantineRobust(api.theirs.FedAvg(), rule=rule, buffers=[1])
        for t in (1, 2):
            api.hand_out(robust, model, server_round=t)
        said = [r for r in caplog.records if "does not say its f" in r.getMessage()]
        assert len(said) == warned


@every_api
@pytest.mark.parametrize("tolerated", [0.2, None, -1, True, "1"])
def test_what_a_rule_tolerates_is_a_whole_number(api, tolerated):
    rule = NamedF()
    object.__setattr__(rule, "num_byzantine", tolerated)
    with pytest.raises(ValueError, match=r"tolerated\(n\)` of NamedF should be a whole number"):
        api.ours.ByzantineRobust(api.theirs.FedAvg(), rule=rule)


class Vanishing(Own):
    """It returns no rule for a smaller f."""

    def without(self, dropped):
        return None


@every_api
def test_a_lowered_rule_is_checked_too(api):
    rule = Vanishing(np.eye(3), ONE, least=9)
    robust = api.ours.ByzantineRobust(api.theirs.FedAvg(), rule=rule, on_dropped="lower_f")
    api.hand_out(robust, [UPDATES[0]])
    with pytest.raises(ValueError, match="`min_updates` of NoneType should be a whole number"):
        api.aggregate(robust, [*replies_of(api, UPDATES), api.reply(Sent(7, {}))])


COLUMNS = Columns([[row[:30] for row in UPDATES], [row[30:] for row in UPDATES]], UPDATES.dtype, 3)
GOOD = [np.zeros(30, np.float32), np.zeros(10, np.float32)]
READ_ONLY = np.zeros(10, np.float32)
READ_ONLY.flags.writeable = False

ARRAYS = {  # arrays that are given in place of the two good ones
    "too short": [GOOD[0], np.zeros(9, np.float32)],
    "too long": [GOOD[0], np.zeros(11, np.float32)],
    "float64 beside float32": [GOOD[0], np.zeros(10)],
    "other byte order": [GOOD[0], np.zeros(10, np.dtype(np.float32).newbyteorder())],
    "strided": [GOOD[0], np.zeros(20, np.float32)[::2]],
    "backwards": [GOOD[0], np.zeros(10, np.float32)[::-1]],
    "not aligned": [GOOD[0], np.zeros(41, np.uint8)[1:].view(np.float32)],
    "two axes": [GOOD[0], np.zeros((2, 5), np.float32)],
    "a list": [GOOD[0], [0.0] * 10],
    "None": [GOOD[0], None],
    "one too few": GOOD[:1],
    "one too many": [*GOOD, GOOD[0]],
    "none": [],
}


@pytest.mark.parametrize("wrong", ARRAYS)
@pytest.mark.parametrize("name", ["base", "vector", "out"])
def test_arrays_fit_the_columns(name, wrong):
    calls = {
        "base": [
            lambda base: combine(COLUMNS, None, Reduction(1), base=base, out=GOOD),
            lambda base: combine(COLUMNS, np.ones((1, 3)), None, base=base, add_base=True, out=GOOD),
            lambda base: inner_products(COLUMNS, GOOD, base),
        ],
        "vector": [lambda vector: inner_products(COLUMNS, vector)],
        "out": [
            lambda out: combine(COLUMNS, None, Reduction(1), out=out),
            lambda out: combine(COLUMNS, np.ones((1, 3)), None, out=out),
        ],
    }  # fmt: skip
    for call in calls[name]:
        with pytest.raises(ValueError, match=f"Parameter `{name}` should hold"):
            call(ARRAYS[wrong])


def test_results_are_written_where_that_is_allowed():
    with pytest.raises(ValueError, match="Parameter `out` should hold writable"):
        combine(COLUMNS, None, Reduction(1), out=[GOOD[0], READ_ONLY])
    assert combine(COLUMNS, None, Reduction(1), base=[GOOD[0], READ_ONLY], out=GOOD) == 0


def test_changes_are_added_to_something():
    with pytest.raises(ValueError, match="Parameter `base` should be the model"):
        combine(COLUMNS, None, Reduction(1), add_base=True, out=GOOD)


@pytest.mark.parametrize("dtype", [np.int32, ">f4", object])
def test_columns_are_of_a_dtype_that_compiled_code_knows(dtype):
    with pytest.raises(ValueError, match="Parameter `dtype` should be float32 or float64"):
        pairwise_distances(Columns([[np.zeros(3, dtype)]], np.dtype(dtype), 1))


@pytest.mark.parametrize(
    ("segments", "num_rows"),
    [([], 0), ([[]], 0), ([], -1), ([[[0.0]]], 1), ([[None]], 1), ([[]], 1), ([GOOD], 1)],
)
def test_columns_are_arrays_of_at_least_one_row(segments, num_rows):
    with pytest.raises(ValueError, match=r"Parameter `(segments|num_rows)` should"):
        Columns(segments, np.dtype(np.float32), num_rows)
