"""Thousands of random wrong replies: nothing raises, memory stays bounded, and the model stays finite."""

import random
import subprocess
import sys
import tracemalloc
import warnings
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from flower import FitApi, Proxy, Sent, TrainApi, every_api, message
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, MetricRecord, RecordDict
from flwr.common import Code, EvaluateRes, FitRes, Parameters, Status
from fuzz_npy import SEEDS, check, mutated, saved
from hostile import CATALOGUE, DTYPES, FINE, ODDITIES, SHAPES, VALUES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flwr_byzantine import rules, updates
from flwr_byzantine.aggregation.npy import encode

MODEL = {"w": np.zeros((3, 4), np.float32), "n": np.array(3), "b": np.zeros(2, np.float16)}
HOSTILE, HONEST = 8, 11
EXAMPLES = 640  # each has 8 hostile replies in both APIs, so 10,240 in all


class Dice(random.Random):
    """Draws what a hostile client sends. Hypothesis draws its seeds."""

    def number(self):
        whole = [0, 1, -1, 10**18, 2**63 - 1, self.randrange(-(2**63), 2**63)]
        return self.choice([*whole, *VALUES, self.gauss(0, 1e10)])

    def odd(self):
        return self.choice(ODDITIES)

    def text(self):
        return self.choice(["x" * 10_000, "", "\n\x00", "é\ud800", "w/n", str(self.random())])

    def tensor(self):
        kind = self.randrange(4)
        if kind == 0:
            return mutated(np.random.default_rng(self.getrandbits(32)))
        if kind == 1:
            return self.choice([*SEEDS, self.randbytes(self.randrange(80))])
        if kind == 2:
            return saved(np.empty(0, "f4")).replace(b"(0,)", b"(0, 1099511627776)")
        dtype, shape = np.dtype(self.choice(DTYPES)), self.choice(SHAPES)
        values = np.full(shape, self.choice(VALUES))
        with np.errstate(all="ignore"):
            array = np.zeros(shape, dtype) if dtype.kind == "M" else values.astype(dtype)
        return saved(np.asfortranarray(array) if self.random() < 0.5 else array)

    def tensors(self):
        """The model's tensors. Some are replaced, missing, repeated or in another order."""
        tensors = [encode(array) for array in moved(1).values()]
        for _ in range(self.randrange(3)):
            tensors[self.randrange(3)] = self.tensor()
        for _ in range(self.choice([0, 0, 0, 1, 2])):
            tensors.insert(self.randrange(len(tensors) + 1), self.choice([*tensors, self.tensor()]))
        if self.randrange(8) == 0:
            return self.choice(known_lies())
        return tensors[: self.choice([8, 8, 8, 1, 2])]

    def mostly(self, usual, other):
        return usual() if self.random() < 0.8 else other()


def moved(by):
    return {name: np.asarray(array + array.dtype.type(by)) for name, array in MODEL.items()}


@lru_cache
def known_lies():
    """The tensors of the catalogue's replies with fewer than 100 tensors."""
    made = [list(lie(moved(1)).tensors.values()) for lie in [*CATALOGUE.values(), *FINE.values()]]
    return [tensors for tensors in made if len(tensors) < 100]


def result(dice):
    """A reply of the ``aggregate_fit`` API. Nothing forces its fields to have their types."""
    tensors = dice.mostly(dice.tensors, lambda: dice.choice([[dice.odd()] * 3, dice.odd()]))
    parameters = dice.mostly(lambda: Parameters(tensors, "numpy.ndarray"), dice.odd)
    keys = ["loss", "accuracy", "byzantine/num_dropped", dice.text(), 5]
    reported = {dice.choice(keys): dice.mostly(dice.number, dice.odd) for _ in range(3)}
    metrics, count = dice.mostly(lambda: reported, dice.odd), dice.mostly(dice.number, dice.odd)
    status, proxy = Status(Code.OK, ""), Proxy(str(dice.choice([1, 2, 3, 200])))
    trained = dice.mostly(lambda: FitRes(status, parameters, count, metrics), dice.odd)
    loss = dice.mostly(dice.number, dice.odd)
    return (proxy, trained), (proxy, EvaluateRes(status, loss, count, metrics))


def records(dice):
    """Records of the Message API, of any kind that Flower's own types allow."""
    content = {}
    for _ in range(dice.choice([1, 1, 1, 1, 0, 2])):
        names = dice.mostly(lambda: [*MODEL, "x", "y"], lambda: [dice.text() for _ in range(5)])
        stype = dice.mostly(lambda: "numpy.ndarray", lambda: dice.choice(["torch", ""]))
        named = zip(names, dice.tensors(), strict=False)
        sent = {name: Array("f", (1,), stype, data) for name, data in named}
        content[dice.choice(["arrays", "metrics", ""])] = ArrayRecord(sent)
    for _ in range(dice.choice([1, 1, 1, 1, 0, 2])):
        values = [dice.number(), dice.number(), [dice.gauss(0, 1)] * 3, [1, 2], []]
        reported = {dice.choice(["loss", dice.text()]): dice.choice(values) for _ in range(3)}
        if dice.random() < 0.8:
            reported["num-examples"] = dice.mostly(dice.number, lambda: [1, 2])
        content[dice.choice(["metrics", "arrays"])] = MetricRecord(reported)
    if dice.random() < 0.5:
        content["config"] = ConfigRecord({"a": b"x"})
    return RecordDict(content)


def messages(dice):
    """Replies of the Message API, with an error, a content, both, or another object as content."""
    other = SimpleNamespace(array_records=3, metric_records={"a": {"num-examples": 1}})
    content = dice.mostly(lambda: records(dice), lambda: dice.choice([None, other]))
    error = dice.mostly(lambda: None, lambda: Error(1, "?\n" * 999))
    node = dice.choice([1, 2, 3, 200])
    answers = message(node, RecordDict({})), message(node, RecordDict({}), "evaluate")
    for answer in answers:
        vars(answer).update(_content=content, _error=error)
    return answers


HOSTILES = {"fit": result, "train": messages}
KINDS = [
    lambda api, **own: api.ours.Median(**own),
    lambda api, **own: api.ours.Phocas(**{api.f_name: 3}, **own),
    lambda api, **own: api.ours.MultiKrum(**{api.f_name: 3}, **own),
    lambda api, **own: api.ours.MultiBulyan(**{api.f_name: 2}, **own),
    lambda api, **own: api.ours.ByzantineRobust(api.theirs.FedAvg(), rules.TrimmedMean(4)),
]


@lru_cache
def honest(api):
    return [api.reply(Sent(100 + i, moved(i), metrics={"loss": 0.5})) for i in range(HONEST)]


def average(metrics, *_):
    """A user's metrics function, which trusts what it gets."""
    total = sum(count * reported["loss"] for count, reported in metrics)
    return {"loss": total / sum(count for count, _ in metrics)}


def finite_model(strategy, api, hostile, known):
    if known:
        api.hand_out(strategy, MODEL)
    tensors, metrics = api.aggregate(strategy, [*honest(api)[:5], *hostile, *honest(api)[5:]])
    for tensor in tensors or []:
        assert np.isfinite(tensor).all()
    assert metrics["byzantine/num_received"] <= HOSTILE + HONEST
    return tensors


@every_api
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.integers(0, 2**62), min_size=8, max_size=8), st.sampled_from(KINDS), st.booleans()
)
def test_ten_thousand_hostile_replies(api, seeds, make, known):
    replies = [HOSTILES[api.name](Dice(seed)) for seed in seeds]
    own = {"fit_metrics_aggregation_fn": average} if api.name == "fit" else {}
    strategy = make(api, **own)
    tensors = finite_model(strategy, api, [trained for trained, _ in replies], known)
    if known and "Multi" not in type(strategy).__name__:
        assert tensors is not None  # there are enough good replies, whatever the others hold
        for tensor, expected in zip(tensors, MODEL.values(), strict=True):
            assert (tensor.dtype, tensor.shape) == (expected.dtype, expected.shape)
    evaluations = [api.evaluation(100 + i, 0.5) for i in range(HONEST)]
    evaluations += [evaluated for _, evaluated in replies]
    evaluated = api.evaluate(strategy, evaluations)
    assert evaluated["loss"] == pytest.approx(0.5)  # Flower averages equal losses
    assert len(strategy.audit) <= HOSTILE + HONEST


def peak(function):
    """The most bytes that are allocated while a function runs."""
    function()  # fills imports and caches first
    tracemalloc.start()
    function()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


BIG = {"w": np.ones((500, 1000), np.float32)}
# There are 10,000 tiny tensors instead of 100,000, which would take a minute under tracemalloc.
TAKES_MEMORY = {k: lie for k, lie in (CATALOGUE | FINE).items() if k != "100,000 tiny tensors"}


@every_api
@pytest.mark.parametrize("kind", TAKES_MEMORY)
@pytest.mark.parametrize("known", [True, False])
def test_memory_is_bounded_by_the_models_size(api, kind, known):
    size, n = BIG["w"].nbytes, 5
    good = [api.reply(Sent(i, BIG)) for i in range(n)]
    tensors = TAKES_MEMORY[kind](BIG).tensors
    hostile = [api.reply(Sent(100 + i, tensors)) for i in range(2)]
    strategy = api.ours.Median()
    if known:
        api.hand_out(strategy, BIG)
    most = peak(lambda: api.aggregate(strategy, [*good, *hostile]))
    sent = 0 if known else sum(len(tensor) for tensor in tensors.values())
    # The limit allows for the result and its bytes, for converted copies, and for what numpy counts.
    assert most < 12 * size + 8 * sent + 4e6


@every_api
def test_metrics_of_any_size_are_dropped_for_it(api, caplog, monkeypatch):
    monkeypatch.setattr(updates, "MAX_REPORTED", 1000)
    if api.name == "fit":
        kinds = [{f"m{i}": 1.0 for i in range(2_000)}, {"x" * 10**4: 1.0}, {"text": "x" * 10**4}]
    else:
        kinds = [
            {f"m{i}": 1.0 for i in range(2_000)},
            {"x" * 10**4: 1.0},
            {"list": [1.0] * 10**4},
        ]
    for reported in kinds:
        strategy = api.ours.Median()
        bad = api.reply(Sent(7, MODEL, metrics=reported))
        assert finite_model(strategy, api, [bad], known=True) is not None
        assert "characters and numbers" in strategy.aggregator.last.dropped["7"]
        evaluations = [api.evaluation(i, 0.5) for i in range(2)]
        evaluations.append(api.evaluation(7, 9.0, **reported))
        assert api.evaluate(strategy, evaluations) == {"loss": 0.5}
    assert max(len(record.getMessage()) for record in caplog.records) < 500


def test_the_reader_of_tensors():
    rng = np.random.default_rng(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy warns of headers that Python 2 may have written
        for data in SEEDS:
            check(data)
        for _ in range(5_000):
            check(mutated(rng))


def test_the_reader_of_tensors_under_a_fuzzer_that_sees_coverage(tmp_path):
    pytest.importorskip("atheris")
    for i, seed in enumerate(SEEDS):
        (tmp_path / str(i)).write_bytes(seed)
    program = Path(__file__).parents[1] / "helpers" / "fuzz_npy.py"
    options = ["-max_total_time=8", "-max_len=4096", "-rss_limit_mb=2048"]
    fuzzer = [sys.executable, "-W", "ignore", program, *options, tmp_path]
    done = subprocess.run(
        fuzzer, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_apis_are_those_of_the_builders():
    assert set(HOSTILES) == {FitApi.name, TrainApi.name}
