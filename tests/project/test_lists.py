"""Several pages and modules list the rules and attacks. All the lists agree."""

import re
from pathlib import Path

import pytest
import rule_tables
import tables
from cases import CASES

import flwr_byzantine
from flwr_byzantine import attacks, clients, lab, rules, serverapp, strategy
from flwr_byzantine.lab.names import BY_NAME
from flwr_byzantine.strategies import bygars, fit_strategies, message_strategies
from flwr_byzantine.strategies.auxiliary import AuxiliaryStrategy
from simulations.catalog.attacks import ATTACKS
from simulations.catalog.rules import RULES

REPOSITORY = Path(__file__).resolve().parents[2]
REPUTED = {"ByGARS", "ByGARSPlusPlus"}
JUDGING = REPUTED | {"FLTrust"}  # they are no rules: they use data of the server
OTHER_NAMES = {"FedMedian", "FedTrimmedAvg"}  # Flower's names of rules that have another name here
PLANS_ALONE = {"none", "mixed", "lying"}  # plans of the simulations without a class of their own


def table(page, section):
    """Names in the first column of the first table below a heading."""
    text = (REPOSITORY / page).read_text()
    below = re.split(rf"(?m)^#+ {section}$", text)[1]
    rows = re.search(r"(?m)^\|---.*\n((?:\|.*\n)+)", below)
    return set(
        re.findall(r"`([^`]+)`", " ".join(row.split("|")[1] for row in rows[1].splitlines()))
    )


def documented(page, package, module=None):
    """The names that a page documents of a package. If it documents a module, all names of that module."""
    text = (REPOSITORY / page).read_text()
    named = {*re.findall(rf"(?m)^::: {re.escape(package)}\.(\w+)$", text)}
    if module is None or f"\n::: {module.__name__}\n" not in text:
        return named
    return named | {
        name for name in module.__all__ if getattr(module, name).__module__ == module.__name__
    }


NO_STRATEGY_OF_ITS_OWN = {"Composition"}


def public(module, base):
    """The public names of a module that are kinds of rule, strategy or attack, without the base class."""
    found = {name: getattr(module, name) for name in module.__all__}
    return {
        name
        for name, value in found.items()
        if isinstance(value, type) and issubclass(value, base) and value is not base
    }


PURE = {case.name for case in CASES}
STEPS = public(rules, rules.PreAggregation)


def test_every_rule_is_in_the_case_table():
    assert public(rules, rules.Rule) - NO_STRATEGY_OF_ITS_OWN == PURE


@pytest.mark.parametrize(
    ("module", "base"),
    [(flwr_byzantine, strategy.RobustFedAvg), (serverapp, serverapp.RobustFedAvg)],
)
def test_both_apis_have_a_strategy_for_every_rule(module, base):
    assert public(module, base) == PURE | JUDGING | OTHER_NAMES


def test_the_apis_offer_the_same():
    there = {*flwr_byzantine.__all__} - {
        "TooFewUpdatesError",
        "read_parameters",
        "write_parameters",
    }
    assert {*serverapp.__all__} - {"read_record", "write_record", "RobustGrid"} == there
    assert public(flwr_byzantine, bygars.ReputationStrategy) == REPUTED
    assert public(flwr_byzantine, AuxiliaryStrategy) == JUDGING


@pytest.mark.parametrize(("page", "section"), [("README.md", "Rules"), ("docs/rules.md", "Rules")])
def test_pages_list_every_rule(page, section):
    assert table(page, section) == PURE | JUDGING


def test_the_pages_have_every_docstring():
    assert documented("docs/rules.md", "flwr_byzantine.rules") == PURE | STEPS
    apis = [
        ("docs/reference/fit-api.md", flwr_byzantine, fit_strategies),
        ("docs/reference/message-api.md", serverapp, message_strategies),
    ]
    for page, package, module in apis:
        assert documented(page, package.__name__, module) == {*package.__all__}
    assert documented("docs/attacks.md", "flwr_byzantine.attacks") == set(attacks.__all__)
    assert documented("docs/reference/clients.md", "flwr_byzantine.clients") == set(clients.__all__)
    assert documented("docs/reference/lab.md", "flwr_byzantine.lab") == set(lab.__all__)


@pytest.mark.parametrize("page", ["README.md", "docs/operators.md", "docs/rules.md"])
def test_pages_say_of_the_rules_what_the_rules_say(page):
    text = (REPOSITORY / page).read_text()
    assert tables.written(page, text) == text, "run `make tables`"
    old = text.replace("4f + 3", "3f + 3", 1)
    assert tables.written(page, old) == text != old


@pytest.mark.parametrize("page", ["README.md", "docs/index.md"])
def test_pages_have_the_scores_of_the_reproduction(page):
    text = (REPOSITORY / page).read_text()
    assert tables.written(page, text) == text, "run `make tables`"
    old = text.replace(
        "| Phocas (Xie, Koyejo, Gupta 2018) | 5", "| Phocas (Xie, Koyejo, Gupta 2018) | 6"
    )
    assert tables.written(page, old) == text != old


def test_the_cost_page_shows_the_run_that_is_kept():
    text = (REPOSITORY / "docs/benchmarks.md").read_text()
    assert tables.written("docs/benchmarks.md", text) == text, "run `make tables`"
    old = text.replace("| `Phocas` | ", "| `Phocas` | 0.")
    assert tables.written("docs/benchmarks.md", old) == text != old


def test_every_rule_says_what_it_averages_and_when_it_fails():
    for kind in rule_tables.pure():
        for words in ("Without an attacker it averages", "It fails"):
            assert rule_tables.said(kind, words) != "-", f"Notes of {kind.__name__}: {words} ...."


def test_bounds_are_found_by_trying():
    assert [rule_tables.bound(kind) for kind in (rules.Mean, rules.Median)] == ["1", "2f + 1"]
    assert [rule_tables.bound(kind) for kind in (rules.Phocas, rules.Bulyan)] == [
        "2b + 1",
        "4f + 3",
    ]
    assert rule_tables.source(rules.Krum) == "Blanchard et al. 2017"
    with pytest.raises(ValueError, match="not linear in f"):
        rule_tables.line(lambda f: f * f, "f")


def test_every_attack_says_what_it_sends_who_knows_what_and_whose_it_is():
    for name, kind in BY_NAME.items():
        assert (
            f"| `{name}` | {rule_tables.does(kind)} | {rule_tables.known(kind)} |"
            in rule_tables.readme_attacks()
        )
        assert rule_tables.source(kind) != "-", kind
    assert rule_tables.source(attacks.LabelFlip) == "Regatti et al. 2020"
    kinds = (attacks.SignFlip, attacks.Mimic, attacks.PoisonedFL, attacks.Backdoor)
    assert [rule_tables.known(kind) for kind in kinds] == [
        "own update",
        "honest updates",
        "global models",
        "own data",
    ]
    assert rule_tables.known(attacks.Optimized) == "honest updates, the rule"


def test_readme_has_the_tables_of_all_attacks_and_steps():
    text = (REPOSITORY / "README.md").read_text()
    old = text.replace("| `lie` |", "| `other` |")
    assert tables.written("README.md", old) == text != old
    assert all(f"`{step}`" in rule_tables.readme_rules() for step in STEPS)


def test_simulations_run_every_rule():
    assert {spec.name for spec in RULES.values() if spec} - {"RobustFedAvg"} == PURE | JUDGING


def classes():
    """The attacks, without the base classes and signatures."""
    signatures = {"LocalAttack", "ColludingAttack", "ModelAttack", "Remembering", "ChannelAttack"}
    return set(attacks.__all__) - signatures


def test_pages_list_every_attack():
    names = set(ATTACKS)
    assert table("README.md", "Attacks") == set(BY_NAME) == names - PLANS_ALONE
    assert table("docs/attacks.md", "Attacks") == classes()
    page = (REPOSITORY / "docs/attacks.md").read_text()
    rows = re.findall(r"(?m)^\| \[`(\w+)`\]\(\S+\) \| `(\w+)` \|", page)
    assert {flag: name for name, flag in rows} == {
        name: plan.__name__ for name, plan in ATTACKS.items() if name not in PLANS_ALONE
    }
