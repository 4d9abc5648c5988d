"""Rounds that ask only some of the clients, and clients that never answer."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from simulations.catalog.placement import Participation
from simulations.config import RunConfig
from simulations.federation.runner import run, run_all

SAMPLED = {"clients": 12, "clients_per_round": 6, "byzantine": 3, "rounds": 4, "dataset": "digits"}
LIE = {"attack": "lie", "attack_args": {"z": 1.5}}


def ran(**settings):
    (result,) = run_all([RunConfig(**settings)], inline=True)
    if isinstance(result, Exception):
        raise result
    return result


def test_each_round_asks_other_clients_drawn_by_the_seed():
    who = Participation(n=100, f=20, seed=3, per_round=20)
    asked = [who.asked_in(server_round) for server_round in range(1, 200)]
    assert {len(clients) for clients in asked} == {20}
    assert asked[0] == Participation(n=100, f=20, seed=3, per_round=20).asked_in(1) != asked[1]
    times = [sum(client in clients for clients in asked) for client in range(100)]
    assert min(times) > 15  # the mean is 40
    assert max(times) < 75


def test_only_those_asked_answer_and_attackers_are_as_many_as_were_drawn():
    result = ran(rule="median", **LIE, **SAMPLED)
    who = RunConfig(rule="median", **LIE, **SAMPLED).who
    for record in result["rounds"]:
        assert record["answered"] == sorted(who.asked_in(record["round"]))
        assert record["byzantine"] == sorted({0, 1, 2} & who.asked_in(record["round"]))
        silent = set(range(12)) - set(record["answered"])
        assert all(record["used"][client] is None for client in silent)
        assert sum(record["used"][client] for client in record["answered"]) == pytest.approx(1)
    assert len({tuple(record["answered"]) for record in result["rounds"]}) > 1


@pytest.mark.parametrize("attack", ["lie", "mimic", "label_flip", "opt_ipm", "sign_flip"])
def test_both_apis_ask_the_same_clients(attack):
    config = {"rule": "trimmed_mean", "attack": attack, **SAMPLED}
    one, other = (ran(api=api, **config) for api in ("message", "legacy"))
    assert one["parameters_sha256"] == other["parameters_sha256"]


@pytest.mark.slow
def test_ray_asks_the_same_clients():
    pytest.importorskip("ray")
    config = {"rule": "median", **LIE, **SAMPLED}
    assert run(RunConfig(**config))["parameters_sha256"] == ran(**config)["parameters_sha256"]


@pytest.mark.parametrize("api", ["message", "legacy"])
def test_stragglers_never_answer_and_the_others_go_on(api):
    config = RunConfig(
        rule="phocas", clients=9, byzantine=2, stragglers=3, rounds=2, api=api, attack="ipm"
    )
    result = ran(**config.model_dump())
    assert config.who.silent == {6, 7, 8}
    for record in result["rounds"]:
        assert record["answered"] == [0, 1, 2, 3, 4, 5]
        assert record["num_failed"] == 3
    assert result["final_accuracy"] > 0.15


def test_stragglers_may_be_asked_among_others():
    settings = SAMPLED | {"stragglers": 4}
    result = ran(rule="median", **LIE, **settings)
    for record in result["rounds"]:
        assert set(record["answered"]) <= set(range(8))
        assert len(record["answered"]) + record["num_failed"] == 6


def test_the_assumed_f_of_a_sample_is_its_share():
    assert RunConfig(clients=100, clients_per_round=20, byzantine=21).assumed_byzantine == 5
    assert RunConfig(clients=20, byzantine=4).assumed_byzantine == 4
    assert RunConfig(clients_per_round=10, byzantine=4).assumed_byzantine == 2  # of 20 by default


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"clients": 10, "clients_per_round": 11}, "clients_per_round"),
        ({"clients": 10, "stragglers": 10}, "stragglers"),
        ({"clients": 10, "byzantine": 2, "stragglers": 2, "redraw": True}, "redraw"),
        ({"rule": "baseline", "clients": 10, "byzantine": 2, "clients_per_round": 5}, "baseline"),
        ({"rule": "krum", "clients": 30, "clients_per_round": 5, "assumed_byzantine": 2}, "f"),
        ({**SAMPLED, **LIE, "momentum": 0.9}, "momentum"),
    ],
)
def test_what_cannot_work_is_refused_early(settings, word):
    with pytest.raises(ValidationError, match=word):
        RunConfig(**settings)


def test_a_client_is_known_by_its_number_however_many_nodes_there_are():
    result = ran(rule="bygars++", clients=12, clients_per_round=6, rounds=2, auxiliary=50)
    scores = result["rounds"][-1]["reputations"]
    assert [client for client, score in enumerate(scores) if score is not None] == (
        result["rounds"][-1]["answered"]
    )
