"""Pre-aggregations in front of a simulation's rule: `--rule nnm+phocas`."""

import re

import pytest

from flwr_byzantine import rules
from flwr_byzantine.lab.names import SHORT, STEPS, name_of
from simulations.catalog.compositions import choose
from simulations.catalog.rules import RULES
from simulations.commands.display import label
from simulations.config import RunConfig
from simulations.federation.runner import run_all
from simulations.federation.strategies import build_strategy
from simulations.sweep.experiment import load_experiment

pytestmark = pytest.mark.torch


def config(rule, rule_args="", **options):
    given = {"clients": 20, "byzantine": 2, "attack": "sign_flip", **options}
    return RunConfig.from_options({"rule": rule, "rule-args": rule_args, **given})


def rule_of(run):
    return build_strategy(run).rule


def test_every_pre_aggregation_has_a_name():
    steps = {getattr(rules, name) for name in vars(rules)["__all__"] if name != "PreAggregation"}
    assert {*STEPS.values()} == {
        kind for kind in steps if isinstance(kind, type) and issubclass(kind, rules.PreAggregation)
    }
    assert STEPS["nnm"] is STEPS["nearest_neighbor_mixing"] is rules.NearestNeighborMixing
    assert STEPS["arc"] is STEPS["adaptive_clipping"] is rules.AdaptiveClipping
    assert not {*STEPS} & {*RULES}


@pytest.mark.parametrize("api", ["message", "legacy"])
@pytest.mark.parametrize("payload", ["parameters", "gradients"])
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nnm+phocas", rules.NearestNeighborMixing(2) >> rules.Phocas(2)),
        ("nearest-neighbor-mixing+mean", rules.NearestNeighborMixing(2) >> rules.Mean()),
        ("arc+multi_krum", rules.AdaptiveClipping(2) >> rules.MultiKrum(2)),
        ("arc+nnm+median", rules.AdaptiveClipping(2) >> (rules.NearestNeighborMixing(2) >> rules.Median())),
    ],
)  # fmt: skip
def test_the_strategy_has_them_in_front_of_its_rule(api, payload, name, expected):
    run = config(name, api=api, payload=payload)
    assert rule_of(run) == expected
    assert run.rule == name.replace("-", "_")
    assert label(run) == f"{run.rule}, sign_flip"


def test_short_names_of_rules():
    kinds = {
        "caf": "CovarianceFilter",
        "cclip": "CenteredClipping",
        "dnc": "DivideAndConquer",
        "gm": "GeometricMedian",
        "mda": "MinimumDiameterAveraging",
        "mea_med": "MeaMed",
        "smea": "SmallestMaximumEigenvalue",
    }
    assert {short: name_of(kind) for short, kind in kinds.items()} == SHORT
    assert rule_of(config("nnm+gm")) == rules.NearestNeighborMixing(2) >> rules.GeometricMedian(2)
    assert name_of("MeaMed") == "meamed"


PURE = [name for name, spec in RULES.items() if spec and not spec.knows_more]


@pytest.mark.parametrize("api", ["message", "legacy"])
@pytest.mark.parametrize("name", PURE)
def test_every_rule_can_have_one_in_front(api, name):
    alone, mixed = (rule_of(config(rule, api=api)) for rule in (name, f"nnm+{name}"))
    assert mixed == rules.NearestNeighborMixing(2) >> alone


def test_f_is_what_the_run_assumes():
    run = config("nnm+trimmed_mean", byzantine=0, attack="none", assumed_byzantine=3)
    assert rule_of(run) == rules.NearestNeighborMixing(3) >> rules.TrimmedMean(3)


def test_arguments_go_to_the_parts_that_have_them():
    made = rule_of(
        config("clipping+bucketing+multi_krum", "threshold=2 bucket_size=3 num_selected=1")
    )
    clipping, bucketing = made.before
    assert clipping == rules.Clipping(2)
    assert bucketing.bucket_size == 3
    assert made.rule == rules.MultiKrum(2, 1)
    chosen = choose("clipping+mean", {"clipping.threshold": 5}, 0)
    assert chosen.before == rules.Clipping(5)
    assert chosen.rule_args == {}


def test_buckets_are_drawn_from_the_runs_seed():
    def seeds(**options):
        made = rule_of(config("bucketing+bucketing+mean", **options))
        return [step.seed for step in made.before]

    assert seeds() == seeds()
    assert len({*seeds(), *seeds(seed=1)}) == 4
    assert seeds(rule_args="seed=7") == [7, 7]


@pytest.mark.parametrize(
    ("name", "rule_args", "message"),
    [
        (
            "nmm+phocas",
            "",
            "pre-aggregations in front: .*nnm.* Found `rule = nmm.phocas`. There is no nmm",
        ),
        ("nnm+phokas", "", "end with a rule .*phocas.* Found `rule = nnm.phokas`"),
        ("nnm", "", "end with a rule"),
        ("phokas", "", "should be one of fedavg, mean"),
        ("phocas+nnm", "", "There is no phocas"),
        ("nnm+fedavg", "", "end with a rule"),
        ("nnm+bygars++", "", "end with a rule"),
        ("nnm+baseline", "", "end with a rule"),
        ("+phocas", "", "There is no "),
        (
            "nnm+krum",
            "threshold=1",
            "arguments of nnm, krum. Found `threshold`, which none of them",
        ),
        ("clipping+krum", "", "suit Clipping.*threshold"),
        ("clipping+krum", "threshold=-1", "Parameter `threshold` of Clipping"),
        ("nnm+krum", "num_byzantine=1", "Set f with `assumed_byzantine"),
        ("krum", "num_byzantine=1", "Set f with `assumed_byzantine"),
        ("bucketing+krum", "", "`clients` should be at least 13 for bucketing.krum"),
        ("nnm+bulyan", "", "`clients` should be at least 11 for nnm.bulyan"),
    ],
)
def test_what_is_wrong_is_said(name, rule_args, message):
    with pytest.raises(ValueError, match=message):
        config(name, rule_args, clients=10)


def test_too_many_clients_are_refused():
    with pytest.raises(ValueError, match=r"`clients` should be at most .* for nnm.smea"):
        config("nnm+smea", clients=60, byzantine=4)


@pytest.mark.parametrize("payload", ["parameters", "gradients"])
@pytest.mark.parametrize("name", ["nnm+phocas", "bucketing+arc+median"])
def test_runs_give_the_same_model_in_both_apis(name, payload):
    runs = [
        config(name, api=api, payload=payload, clients=9, rounds=2) for api in ("message", "legacy")
    ]
    message, legacy = run_all(runs, inline=True)
    assert message["parameters_sha256"] == legacy["parameters_sha256"]
    assert [record["skipped"] for record in message["rounds"]] == [0, 0]
    assert message["config"]["rule"] == name


def test_experiments_name_them(tmp_path):
    file = tmp_path / "mixing.toml"
    file.write_text(
        """
title = "Does mixing help?"
source = "a question of our own"
settings = { clients = 9, byzantine = 2 }
attacks = { "sign flip" = { attack = "sign_flip" } }
profiles.quick = { note = "small", seeds = [0], settings = { rounds = 2 } }
rules = { phocas = { rule = "phocas" }, "nnm + phocas" = { rule = "nnm+phocas" } }
figures.one = { title = "one", rules = ["phocas", "nnm + phocas"], attacks = ["sign flip"] }
"""
    )
    cells = [*load_experiment(file).cells("quick")]
    assert [cell.config.rule for cell in cells] == ["phocas", "nnm+phocas"]
    assert [cell.rule for cell in cells] == ["phocas", "nnm + phocas"]
    file.write_text(re.sub('nnm.phocas"', 'nm+phocas"', file.read_text()))
    with pytest.raises(ValueError, match="There is no nm"):
        [*load_experiment(file).cells("quick")]
