"""`flwr-byzantine plan`: f for a sample, and which rules can take it."""

import json
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

import flwr_byzantine
from flwr_byzantine import rules, serverapp
from flwr_byzantine.commands.app import app
from flwr_byzantine.commands.plan import NAMES, plan_f
from flwr_byzantine.lab.names import RULES, rule_named

DOCS = Path(__file__).resolve().parents[2] / "docs"
SHOWN = re.compile(r"(?ms)^```sh\nflwr-byzantine (plan [^\n]+)\n```\n\n```text\n(.*?)^```$")
OPTIONS = {"population": 100, "byzantine": 10, "sample": 20, "rounds": 200, "risk": "1e-3"}


def called(*more, **changed):
    """The output of the command, and its exit code."""
    values = {name: value for name, value in (OPTIONS | changed).items() if value is not None}
    options = [f"--{name.replace('_', '-')}={value}" for name, value in values.items()]
    return CliRunner().invoke(app, ["plan", *options, *more])


def planned(**changed):
    """The output of the command as JSON."""
    shown = called("--json", **changed)
    assert shown.exit_code == 0, shown.output
    return json.loads(shown.stdout)


def allows(name, f, n):
    """Whether a rule's own bounds allow f among n replies."""
    try:
        rule = rule_named(name, f)
    except ValueError:
        return False
    return rule.min_updates <= n <= (rule.max_updates or n) and rule.tolerated(n) >= f


def test_what_it_says():
    shown = called()
    assert shown.exit_code == 0
    lines = shown.stdout.splitlines()
    assert lines[0] == (
        "f = 8 for samples of 20 of 100 nodes, 10 of them Byzantine, over 200 rounds"
    )
    assert lines[1:4] == [
        "Byzantine nodes in a sample, on average: 2",
        "Risk that any round has more than 8: 0.00016 (allowed: 0.001)",
        "Risk with f = 7: 0.0047",
    ]
    rows = {line.split()[0]: line for line in lines if re.match(r"[a-z_+]+  ", line)}
    assert {*NAMES} <= {*rows}
    assert re.search(r" 17  yes .* Phocas\(num_malicious_nodes=8\)$", rows["phocas"])
    assert re.search(
        r" 35  no +43, f = 10 +MultiBulyan\(num_malicious_nodes=10\)$", rows["multi_bulyan"]
    )
    assert "none is enough" in rows["mean"]


@pytest.mark.parametrize("page", ["plan-for-f.md", "tutorials/choose-a-rule.md"])
def test_pages_show_what_it_prints(page):
    found = SHOWN.findall((DOCS / page).read_text())
    assert found
    for command, shown in found:
        lines = CliRunner().invoke(app, shlex.split(command)).stdout.splitlines()
        if "...\n" in shown:  # the page shows some of the rules
            assert {*shown.splitlines()} - {"..."} <= {*lines}
        else:
            assert shown.splitlines() == lines


def test_every_rule_is_in_the_plan():
    assert {rule["name"] for rule in planned()["rules"]} >= {*RULES}


@pytest.mark.parametrize("changed", [
    {}, {"byzantine": 0}, {"byzantine": 3}, {"byzantine": 24}, {"byzantine": 25}, {"byzantine": 49},
    {"byzantine": 50}, {"byzantine": 100}, {"sample": 100}, {"sample": 1}, {"sample": 21, "risk": 0.5},
    {"population": 25, "sample": 25}, {"population": 23, "sample": 10}, {"rounds": 1},
])  # fmt: skip
def test_rules_are_asked_for_their_own_bounds(changed):
    plan = plan_f(**{k: float(v) if k == "risk" else v for k, v in (OPTIONS | changed).items()})
    own = {
        n: plan_f(plan.population, plan.byzantine, n, plan.rounds, plan.risk, rules=[]).f
        for n in range(1, plan.population + 1)
    }
    assert plan.f == own[plan.sample]
    for rule in plan.rules:
        assert rule.works == allows(rule.name, plan.f, plan.sample), rule
        enough = [n for n, f in own.items() if allows(rule.name, f, n)]
        needed = plan.sample if rule.works else next(iter(enough), None)
        assert rule.sample == needed, rule
        assert rule.f == (None if needed is None else own[needed]), rule
        assert rule.replies == next(
            (n for n in range(1, 1000) if allows(rule.name, plan.f, n)), rule.replies
        )


def test_what_to_write_is_the_rule():
    for rule in plan_f(100, 10, 20, 200).rules:
        if rule.rule is None:
            continue
        made = eval(rule.rule, vars(rules))
        assert made == rule_named(rule.name, rule.f)
        fit = eval(rule.fit_strategy, vars(rules) | vars_of(flwr_byzantine))
        message = eval(rule.message_strategy, vars(rules) | vars_of(serverapp))
        assert fit.rule == message.rule == made


def vars_of(module):
    """The strategies of a module. It loads them when they are first used."""
    return {name: getattr(module, name) for name in module.__all__ if hasattr(rules, name)}


def test_a_sample_of_everybody_has_all_of_them():
    plan = planned(sample=100)
    assert (plan["f"], plan["risk_left"], plan["expected"]) == (10, 0, 10)
    assert plan["risk_below"] == 1


def test_shares():
    assert planned(byzantine="10%") == planned()
    assert planned(byzantine="9.2%")["byzantine"] == 10  # rounded up
    assert planned(byzantine="0%")["f"] == 0
    assert planned(sample=None, fraction_train=0.2) == planned()
    assert planned(sample=None, fraction_fit=0.209) == planned()  # rounded down, as Flower does


def test_rules_of_ones_own():
    plan = planned(rules="krum,nnm+krum,bucketing+nnm+krum")
    assert [rule["name"] for rule in plan["rules"]] == ["krum", "nnm+krum", "bucketing+nnm+krum"]
    assert [rule["works"] for rule in plan["rules"]] == [True, True, False]


def test_what_helps_where_no_rule_does():
    shown = called(byzantine=60)
    assert "FLTrust and ByGARS take any f" in shown.stdout
    assert "none is enough" in shown.stdout
    assert "FLTrust" not in called().stdout
    above, _, _ = shown.stdout.partition("\nrule ")  # the head of the table
    assert "No rule here works with 20 nodes" in above
    assert "At most half of the nodes are honest: 60 of 100" in " ".join(above.split())


def test_more_nodes_may_help_where_no_rule_works_with_few():
    shown = called(byzantine=40, sample=3).stdout
    assert "No rule here works with 3 nodes" in shown
    assert "At most half" not in shown


@pytest.mark.parametrize(("changed", "words"), [
    ({"sample": 101}, "`--sample` should be at most 100, the size of the population"),
    ({"sample": 0}, "`--sample` should be a whole number of at least 1"),
    ({"sample": 2.5}, "`--sample` should be a whole number. Found `--sample 2.5`"),
    ({"population": 0}, "`--population` should be a whole number of at least 1"),
    ({"population": "many"}, "`--population` should be a whole number. Found `--population many`"),
    ({"byzantine": 101}, "`--byzantine` should be at most 100"),
    ({"byzantine": -1}, "`--byzantine` should be a whole number of at least 0"),
    ({"byzantine": 0.1}, "Write it as 10, or as a share such as 10%"),
    ({"byzantine": "101%"}, "`--byzantine` should be a share from 0% to 100%"),
    ({"byzantine": "x%"}, "`--byzantine` should be a share from 0% to 100%"),
    ({"rounds": 0}, "`--rounds` should be a whole number of at least 1"),
    ({"rounds": 1.5}, "`--rounds` should be a whole number. Found `--rounds 1.5`"),
    ({"risk": 0}, "`--risk` should be a number above 0 and below 1"),
    ({"risk": 1}, "`--risk` should be a number above 0 and below 1"),
    ({"risk": "nan"}, "`--risk` should be a number above 0 and below 1"),
    ({"risk": "small"}, "`--risk` should be a number. Found `--risk small`"),
    ({"sample": None}, "`--sample` should be given, or `--fraction-train` instead. Found neither"),
    ({"fraction_train": 0.2}, "Found both"),
    ({"sample": None, "fraction_train": "x"}, "Found `--fraction-train x`"),
    ({"sample": None, "fraction_train": 1.5}, "`--fraction-train` should be above 0 and at most 1"),
    ({"sample": None, "fraction_train": 0.001}, "should be large enough for at least one of 100"),
    ({"rules": "krumm"}, "`--rules` should be chosen from"),
])  # fmt: skip
def test_the_impossible_is_said_in_a_line(changed, words):
    shown = called(**changed)
    assert shown.exit_code == 2
    assert shown.stdout == ""
    assert words in shown.stderr
    assert len(shown.stderr.strip().splitlines()) == 1


def test_a_million_phones_take_no_time():
    plan = {"population": 10**6, "byzantine": 10**5, "sample": 100, "rounds": 10_000}
    started = time.process_time()
    assert planned(**plan)["f"] == 28
    assert time.process_time() - started < 1


@pytest.mark.slow
def test_it_is_a_command():
    options = [f"--{name}={value}" for name, value in OPTIONS.items()]
    command = [sys.executable, "-m", "flwr_byzantine", "plan", *options]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    assert shown.stdout.startswith("f = 8 for samples of 20 of 100 nodes")
