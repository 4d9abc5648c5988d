"""Keywords that a rule, a pre-aggregation or an attack does not know: errors say what to write."""

import copy
import pickle
from dataclasses import dataclass
from inspect import isabstract

import pytest
from flwr.client import NumPyClient

from flwr_byzantine import attacks, clients, rules
from flwr_byzantine.audit import Suspicion
from flwr_byzantine.checks import KnownKeywords

NUMBERS = ["f", "b", "trim", "num_byzantine", "num_malicious_clients", "num_malicious_nodes"]


def made_by_users():
    """All public classes whose objects users make."""
    public = [getattr(module, name) for module in (rules, attacks) for name in module.__all__]
    kinds = [thing for thing in public if isinstance(thing, type) and not isabstract(thing)]
    return [kind for kind in kinds if issubclass(kind, KnownKeywords)]


def test_all_rules_and_attacks_are_among_them():
    names = {kind.__name__ for kind in made_by_users()}
    assert names >= {"Krum", "Phocas", "Bucketing", "Backdoor", "LabelFlip", "Gambler"}


@pytest.mark.parametrize("kind", made_by_users(), ids=lambda kind: kind.__name__)
def test_an_unknown_keyword_is_named_with_what_there_is(kind):
    with pytest.raises(TypeError) as error:
        kind(qqqqq=1)
    text = str(error.value)
    assert text.startswith(f"{kind.__name__}() got an unexpected keyword argument 'qqqqq'. It")


@pytest.mark.parametrize("word", ["m", "num_clients_to_keep", "num_nodes_to_select"])
def test_how_many_are_selected_by_another_name(word):
    with pytest.raises(TypeError, match=r"Write `num_selected` for this number"):
        rules.MultiKrum(1, **{word: 2})


def test_other_objects_that_users_make_say_it_too():
    with pytest.raises(TypeError, match=r"^Suspicion\(\) got .* Did you mean `rounds`"):
        Suspicion(round=3)
    with pytest.raises(TypeError, match=r"Did you mean `start_round`"):
        clients.AttackSchedule(start_rounds=3)
    with pytest.raises(TypeError, match=r"^MaliciousClient\(\) got .* Did you mean `schedule`"):
        clients.MaliciousClient(NumPyClient(), attacks.SignFlip(), schedul=3)


@pytest.mark.parametrize("word", NUMBERS)
@pytest.mark.parametrize(
    ("kind", "own"),
    [
        (rules.Phocas, "trim"), (rules.Krum, "num_byzantine"), (rules.Bulyan, "num_byzantine"),
        (rules.NearestNeighborMixing, "num_byzantine"),
    ],
)  # fmt: skip
def test_the_number_of_byzantine_updates_by_another_name(kind, own, word):
    if word == own:
        assert kind(**{word: 2}) == kind(2)
        return
    with pytest.raises(TypeError, match=f"{word!r}. Write `{own}` for this number"):
        kind(**{word: 2})


def test_a_keyword_that_is_nearly_right():
    with pytest.raises(TypeError, match=r"'eps'\. Did you mean `epsilon`"):
        attacks.InnerProductManipulation(eps=2)
    with pytest.raises(TypeError, match=r"'f'\. It takes no keywords"):
        rules.Mean(f=1)


def test_rules_with_an_init_of_their_own_take_what_it_takes():
    class Mine(rules.Mean):
        def __init__(self, first, *, other=0, **more):
            object.__setattr__(self, "got", (first, other, more))

    assert Mine(1, other=2, third=3).got == (1, 2, {"third": 3})

    @dataclass(frozen=True)
    class Tuned(rules.Median):
        strength: float = 1.0

    assert Tuned(strength=2.0).strength == 2
    with pytest.raises(TypeError, match="Did you mean `strength`"):
        Tuned(strenght=2.0)


@pytest.mark.parametrize(
    "made", [rules.Krum(1), rules.Bucketing(2) >> rules.Phocas(1), attacks.SignFlip(2.0)], ids=str
)
def test_copies_and_pickles(made):
    assert copy.deepcopy(made) == made
    assert pickle.loads(pickle.dumps(made)) == made
