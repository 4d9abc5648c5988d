"""Which client gets which samples: each partition by its definition, mixtures, and refused settings."""

import numpy as np
import pytest
from pydantic import ValidationError

from simulations.catalog import datasets
from simulations.catalog.dealing import PARTITIONERS, Partition, deal
from simulations.catalog.partitions import by_label, iid, mixed
from simulations.config import RunConfig
from simulations.federation.runner import run_all
from simulations.streams import Stream, generator

pytestmark = pytest.mark.torch

LABELS = np.repeat(np.arange(10), 100)


def counts(dealt, labels=LABELS):
    """The number of samples of each class, in a row for each client."""
    return np.array([np.bincount(labels[share], minlength=10) for share in dealt])


@pytest.mark.parametrize("kind", [*PARTITIONERS, "gamma", "iid+dirichlet", "classes+quantity"])
def test_partitions_cover_the_data_once_and_depend_on_the_seed_alone(kind):
    how = Partition(kind, alpha=0.1)
    dealt = datasets.partition("digits", "", how, 30, 7)
    datasets.partition.cache_clear()
    again = datasets.partition("digits", "", how, 30, 7)
    other = datasets.partition("digits", "", how, 30, 8)
    assert sorted(np.concatenate(dealt)) == list(range(1437))
    assert all(np.array_equal(a, b) for a, b in zip(dealt, again, strict=True))
    assert any(not np.array_equal(a, b) for a, b in zip(dealt, other, strict=True))
    assert min(map(len, dealt)) >= 1


@pytest.mark.parametrize(
    ("kind", "first"), [("iid", [47, 52, 66, 106, 131]), ("dirichlet", [46, 51, 66, 70, 82])]
)
def test_partitions_of_kept_results_are_what_they_were(kind, first):
    share = datasets.partition("digits", "", Partition(kind), 20, 0)[0]
    assert share[:5].tolist() == first


def test_iid_shares_are_even_and_dirichlet_shares_are_not():
    labels = datasets.load("digits", "")[0].y.numpy()
    even = deal(Partition("iid"), labels, 20, 0)
    assert {len(share) for share in even} == {71, 72}
    skewed = deal(Partition("dirichlet", alpha=0.1), labels, 20, 0)
    top = [np.bincount(labels[share]).max() / len(share) for share in skewed]
    assert np.mean(top) > 0.5


def test_sorted_shares_follow_the_labels():
    dealt = deal(Partition("sorted"), np.random.default_rng(0).permutation(LABELS), 20, 0)
    assert {len(share) for share in dealt} == {50}
    labels = np.random.default_rng(0).permutation(LABELS)
    assert [set(labels[share]) for share in dealt] == [{client // 2} for client in range(20)]


@pytest.mark.parametrize("gamma", [0.0, 0.33, 0.66, 1.0])
def test_gamma_is_the_share_of_each_client_that_is_like_everybody_s(gamma):
    found = counts(deal(Partition("gamma", gamma=gamma), LABELS, 10, 0))
    assert set(found.sum(axis=1)) <= {99, 100, 101}
    own = found[np.arange(10), np.arange(10)]  # of the class that each client gets by sorting
    np.testing.assert_allclose(own, 100 * (1 - gamma) + 10 * gamma, atol=14)
    if gamma == 0:
        assert np.array_equal(own, [100] * 10)


def test_any_two_partitions_are_mixed_by_a_share():
    rng = generator(Stream.PARTITION, 0)
    only_first = mixed(LABELS, 4, rng, 1.0, by_label, iid)
    assert np.array_equal(counts(only_first), counts(deal(Partition("sorted"), LABELS, 4, 0)))

    def nothing(labels, clients, rng):
        return [np.arange(len(labels)), *[np.array([], dtype=int)] * (clients - 1)]

    sizes = [len(share) for share in mixed(LABELS, 4, rng, 0.2, nothing, iid)]
    assert sizes == [400, 200, 200, 200]
    found = counts(deal(Partition("sorted+iid", gamma=0.5), LABELS, 10, 0))
    assert (found.max(axis=1) > 40).all()


@pytest.mark.parametrize("many", [1, 2, 3, 10])
def test_each_client_has_so_many_classes(many):
    how = Partition("classes", classes_per_client=many)
    found = counts(deal(how, LABELS, 20, 0))
    assert set((found > 0).sum(axis=1)) == {many}
    holders = (found > 0).sum(axis=0)
    assert set(holders) == {2 * many}
    assert not np.array_equal(found, counts(deal(how, LABELS, 20, 1))) or many == 10


def test_quantities_differ_and_labels_do_not():
    found = counts(deal(Partition("quantity", alpha=1.0), LABELS, 10, 0))
    sizes = found.sum(axis=1)
    assert sizes.max() > 3 * sizes.min()
    largest = found[sizes.argmax()]
    assert largest.min() > largest.mean() / 2
    even = counts(deal(Partition("quantity", alpha=1000.0), LABELS, 10, 0)).sum(axis=1)
    assert even.max() < 1.3 * even.min()


def test_the_honest_share_all_and_attackers_draw_their_own():
    options = {"partition": "sorted", "clients": 12, "byzantine": 2, "rule": "mean"}
    config = RunConfig(**options, partition_among="honest", attack="sign_flip")
    dealt = config.shares()
    assert sorted(np.concatenate(dealt[2:])) == list(range(1437))
    alone = RunConfig(partition="sorted", clients=10, rule="mean").shares()
    assert all(np.array_equal(a, b) for a, b in zip(dealt[2:], alone, strict=True))
    labels = datasets.load("digits", "")[0].y.numpy()
    assert [len(share) for share in dealt[:2]] == [143, 143]
    assert all(len(set(labels[share])) == 10 for share in dealt[:2])
    assert not np.array_equal(dealt[0], dealt[1])
    among_all = RunConfig(**options).shares()
    assert sorted(np.concatenate(among_all)) == list(range(1437))
    drawn = RunConfig(**options, partition_among="honest", placement="drawn").shares()
    assert sum(len(set(labels[share])) == 10 for share in drawn) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"partition": "idd"},
            r"`partition` should be one of iid, dirichlet, sorted, .* joined by a `\+`",
        ),
        ({"partition": "iid+shared"}, r"Found `partition = iid\+shared`"),
        ({"partition": "iid+sorted+classes"}, "`partition` should be one of"),
        ({"partition": "gamma", "gamma": 1.5}, "less than or equal to 1"),
        ({"partition": "gamma", "gamma": -0.1}, "greater than or equal to 0"),
        ({"gamma": 0.3}, "`gamma` should be left out with `partition = iid`"),
        (
            {"partition": "sorted", "classes_per_client": 3},
            "`classes_per_client` should be left out",
        ),
        ({"partition": "classes", "classes_per_client": 11}, "should be from 1 to 10"),
        ({"partition": "classes", "classes_per_client": 0}, "greater than or equal to 1"),
        (
            {"partition": "classes", "clients": 4, "rule": "mean"},
            "should be from 3 to 10: the data have 10 classes, and each of them needs one of 4 clients",
        ),
        ({"partition": "quantity", "alpha": 0}, "greater than 0"),
        ({"partition_among": "byzantine"}, "'all' or 'honest'"),
        ({"partition_among": "honest", "partition": "shared"}, "`partition_among` should be `all`"),
        (
            {"partition_among": "honest", "redraw": True},
            "`partition_among` should be `all` with `redraw`",
        ),
        (
            {"partition_among": "honest", "clients": 3, "byzantine": 3, "rule": "mean"},
            "`byzantine` should be less than `clients`",
        ),
        ({"weight_decay": -1}, "greater than or equal to 0"),
    ],
)
def test_partitions_that_make_no_sense_are_refused_early(options, message):
    with pytest.raises(ValidationError, match=message):
        RunConfig(**options)


def test_what_only_the_data_show_ends_the_run_before_anybody_trains():
    config = RunConfig(rule="mean", clients=1500, rounds=1)
    (result,) = run_all([config], inline=True)
    assert isinstance(result, ValueError)
    assert "`clients` should be at most the number of samples, 1437" in str(result)
    with pytest.raises(ValueError, match="should be from 1 to 3: the data have 3 classes"):
        deal(Partition("classes", classes_per_client=4), np.arange(30) % 3, 5, 0)
