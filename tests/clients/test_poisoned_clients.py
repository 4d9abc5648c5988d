"""Wrappers of clients with poisoned data."""

from __future__ import annotations

import numpy as np
import pytest
from flwr.client import NumPyClient

from flwr_byzantine.attacks import Backdoor, LabelFlip, OnOff, RandomLabels, SignFlip
from flwr_byzantine.clients import BackdoorClient, LabelFlippingClient, MaliciousClient

LABELS = np.arange(8) % 3


class Trainer(NumPyClient):
    """A client that sends the sums of its samples, and its labels."""

    def __init__(self, poison=None, label_map=None):
        self.samples, self.labels = np.zeros((8, 4, 4), np.float32), LABELS
        if poison is not None:
            self.samples, self.labels = poison(self.samples, self.labels)
        if label_map is not None:
            self.labels = label_map(self.labels)

    def fit(self, parameters, config):
        sums = self.samples.sum(axis=(1, 2))
        return [parameters[0] + sums, self.labels], 8, {}

    def evaluate(self, parameters, config):
        return 0.5, 8, {"sum": float(self.samples.sum())}


MODEL = [np.zeros(8, np.float32), np.zeros(8, np.int64)]


def sent(client, server_round=1):
    (sums, labels), examples, metrics = client.fit(MODEL, {"server-round": server_round})
    assert (examples, metrics) == (8, {})
    return sums.tolist(), labels.tolist()


HONEST = sent(Trainer())
ATTACK = Backdoor(target=9, fraction=0.5, size=2)


def backdoor(attack=ATTACK, **options):
    return BackdoorClient(Trainer, attack, **options)


def test_half_the_samples_have_the_trigger_and_the_label():
    sums, labels = sent(backdoor())
    assert sorted(sums) == [0] * 4 + [4] * 4
    for i in range(8):
        assert labels[i] == (9 if sums[i] else LABELS[i])


def test_the_same_samples_in_each_round_and_others_for_others():
    assert sent(backdoor(), 1) == sent(backdoor(), 7)
    found = {str(sent(backdoor(client_id=i, seed=s))) for i in range(3) for s in range(3)}
    assert len(found) > 4


def test_it_evaluates_as_the_honest_client_does():
    client = backdoor()
    sent(client)
    assert client.evaluate(MODEL, {}) == (0.5, 8, {"sum": 0.0})


def test_model_replacement_goes_around_it():
    client = MaliciousClient(backdoor(), lambda own, rng: own * 10)
    assert sorted(sent(client)[0]) == [0] * 4 + [40] * 4


def test_it_pauses():
    client = backdoor(OnOff(ATTACK, period=1))
    assert [sent(client, r) == HONEST for r in (1, 2, 3, 4)] == [True, False, True, False]


def flipping(attack, **options):
    return LabelFlippingClient(lambda m: Trainer(label_map=m), attack, **options)


@pytest.mark.parametrize(("attack", "expected"), [
    (LabelFlip(3), [2, 1, 0, 2, 1, 0, 2, 1]),
    (LabelFlip(source=1, target=7), [0, 7, 2, 0, 7, 2, 0, 7]),
    (lambda labels: labels + 1, [1, 2, 3, 1, 2, 3, 1, 2]),
    (RandomLabels(3, seed=4), RandomLabels(3, seed=4)(LABELS, 5, 2).tolist()),
])  # fmt: skip
def test_labels_go_through_the_map(attack, expected):
    client = flipping(attack, client_id=2, seed=5)
    assert sent(client) == (HONEST[0], expected)
    assert sent(client, 2) == (HONEST[0], expected)


def test_random_labels_differ_between_clients():
    first, second = (flipping(RandomLabels(), client_id=i) for i in (0, 1))
    assert sent(first) != sent(second)


def test_each_wrapper_names_the_other():
    with pytest.raises(ValueError, match="Wrap the client in BackdoorClient instead"):
        flipping(ATTACK)
    with pytest.raises(ValueError, match="Wrap the client in LabelFlippingClient instead"):
        backdoor(RandomLabels())
    with pytest.raises(ValueError, match="Wrap the client in LabelFlippingClient instead"):
        MaliciousClient(Trainer(), LabelFlip())
    with pytest.raises(ValueError, match="Wrap the client in MaliciousClient instead"):
        backdoor(SignFlip())
