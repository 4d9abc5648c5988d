"""Names of rules and attacks, as a command line has them."""

import pytest

from flwr_byzantine import attacks, rules
from flwr_byzantine.lab.names import ATTACKS, RULES, STEPS, attack_named, parts_of, rule_named

WITH_DATA_ADVICE = (
    "Its strategy takes them: `stress` runs it as a part of the app, with the rule `app`."
)


@pytest.mark.parametrize("kind", [*RULES.values(), *dict.fromkeys(STEPS.values())])
def test_a_class_has_its_own_name_too(kind):
    if kind in RULES.values() and kind is not rules.CenteredClipping:
        assert type(rule_named(kind.__name__, 2)) is kind
    if kind in (rules.NearestNeighborMixing, rules.Bucketing, rules.AdaptiveClipping):
        assert kind.__name__ in repr(rule_named(f"{kind.__name__}+Median", 2))


def test_a_class_of_an_attack_has_its_own_name_too():
    for name, kind in ATTACKS.items():
        assert attack_named(kind.__name__, 10, 2, rules.Mean()) == attack_named(
            name, 10, 2, rules.Mean()
        )
    assert attack_named("sign-flip", 10, 2, rules.Mean()) == attacks.SignFlip(8.0)


def test_spaces_and_short_names_of_papers_count():
    assert rule_named("nnm + phocas", 2) == rule_named("nnm+phocas", 2)
    assert parts_of("nnm+cclip") == (["nnm"], "centered_clipping")


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("trimedmean", "Did you mean `trimmed_mean`?"),
        ("nmn+phocas", "Did you mean `nnm`?"),
        ("zzz", "Choose from these names, or join them by `+`, as in `nnm+phocas`."),
        ("nnm", "The rule comes last, as in `nnm+phocas`."),
        ("phocas+nnm", "The rule comes last, as in `nnm+phocas`."),
        ("fltrust", WITH_DATA_ADVICE),
        ("ByGARS", WITH_DATA_ADVICE),
        ("bygars++", WITH_DATA_ADVICE),
        ("ByGARSPlusPlus", WITH_DATA_ADVICE),
    ],
)
def test_a_name_that_is_no_rule_is_told_what_to_write(name, advice):
    with pytest.raises(ValueError, match="Parameter `rules`") as raised:
        rule_named(name, 2)
    assert str(raised.value).endswith(advice)
