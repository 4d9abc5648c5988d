"""Attacks and wrappers in simulations on Ray."""

from __future__ import annotations

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.client import NumPyClient
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
from flwr.simulation import run_simulation

from clients import OmniscientClient, serve_both_apis
from flwr_byzantine.clients.arrays import update_of
from flwr_byzantine.clients.recompute import recompute
from simulations.catalog.attacks import ATTACKS
from simulations.config import RunConfig
from simulations.federation.population import honest_client
from simulations.federation.runner import run_all
from simulations.federation.server import wait_for_clients
from simulations.measure.recording import initial_state

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.torch]

ATTACKERS, HONEST = (0, 1, 2), (3, 4, 5)
CHANGES = [{"attack": name} for name in ATTACKS if name != "lying"] + [
    {"attack": "ipm", "redraw": True},
    {"attack": "paf", "placement": "drawn", "attack_start": 2},
    {"attack": "paf", "attack_args": "fraction=0.5"},  # on in round 1, off in round 2
    {"attack": "lie", "attack_args": "knows=attackers"},
    {"attack": "omniscient", "payload": "gradients"},
    {"attack": "lying", "rule": "fedavg"},  # liars cannot change `mean`
    {"attack": "lying", "rule": "fedavg", "attack_args": "num_examples=0 update=constant"},
]
APIS = ("message", "legacy")


def short(**changes):
    """Return a run of 8 clients on the digits, 3 of which are Byzantine."""
    return RunConfig(**{"rule": "mean", "clients": 8, "byzantine": 3, "rounds": 2} | changes)


def unattacked(run):
    """Return the same run without attackers."""
    return short(attack="none", **{k: getattr(run, k) for k in ("rule", "payload", "api")})


@pytest.fixture(scope="module")
def outcomes():
    """Run every attack in both APIs, and the same runs without an attack, on one engine."""
    attacked = [short(**changes, api=api) for changes in CHANGES for api in APIS]
    runs = {repr(run): run for run in [*attacked, *map(unattacked, attacked)]}
    return dict(zip(runs, run_all(list(runs.values())), strict=True))


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_every_attack_runs_and_changes_the_model(outcomes, changes):
    models = []
    for api in APIS:
        run = short(**changes, api=api)
        outcome, honest = outcomes[repr(run)], outcomes[repr(unattacked(run))]
        assert not isinstance(outcome, Exception), outcome
        assert [record["num_failed"] for record in outcome["rounds"]] == [0, 0]
        assert outcome["parameters_sha256"] != honest["parameters_sha256"]
        models.append(outcome["parameters_sha256"])
    # One NumPyClient serves both servers, and draws the same random numbers for both.
    if run.rule != "fedavg":  # FedAvg averages in another order
        assert models[0] == models[1]


def replies(payload, make_attacker):
    """Ask six clients to train once, and return what each sends. Three of them are attackers."""
    config = RunConfig(rule="mean", clients=6, byzantine=3, payload=payload)
    start = initial_state(config)
    sent = {}
    server_app = ServerApp()

    @server_app.main()
    def main(grid, context):
        wait_for_clients(grid, 6)
        content = RecordDict(
            {"arrays": ArrayRecord(start), "config": ConfigRecord({"server-round": 1})}
        )
        nodes = grid.get_node_ids()
        for reply in grid.send_and_receive([Message(content, node, "train") for node in nodes]):
            number = reply.content["metrics"]["partition-id"]
            sent[number] = reply.content["arrays"].to_numpy_ndarrays()

    def client_fn(context):
        def make_honest(client_id):
            return honest_client(config, client_id)

        client_id = int(context.node_config["partition-id"])
        make = make_attacker if client_id in ATTACKERS else make_honest
        return (
            make(client_id, make_honest) if client_id in ATTACKERS else make(client_id)
        ).to_client()

    client_app = ClientApp(client_fn=client_fn, mods=[serve_both_apis])
    resources = {"client_resources": {"num_cpus": 1}, "init_args": {"num_cpus": 2}}
    run_simulation(server_app, client_app, 6, backend_config=resources)
    return [tensor.numpy() for tensor in start.values()], sent


def test_omniscient_attackers_can_send_exactly_what_the_honest_send():
    def make_attacker(client_id, make_honest):
        return OmniscientClient(
            make_honest(client_id), lambda honest, num_attackers, rng: honest, make_honest,
            ATTACKERS, HONEST, client_id=client_id, payload="gradients",
        )  # fmt: skip

    _, sent = replies("gradients", make_attacker)
    assert len(sent) == 6
    for attacker, honest in zip(ATTACKERS, HONEST, strict=True):
        for copied, original in zip(sent[attacker], sent[honest], strict=True):
            assert copied.tobytes() == original.tobytes()
    assert any((a != b).any() for a, b in zip(sent[3], sent[4], strict=True))


def test_the_recomputation_is_to_the_last_bit_what_the_honest_clients_send():
    class Witness(NumPyClient):
        """It sends the updates that it believes the honest clients send."""

        def __init__(self, client_id, make_honest):
            self.client_id, self.make_honest = client_id, make_honest

        def fit(self, parameters, config):
            known = recompute(self.make_honest, HONEST, parameters, config, "parameters")
            return [known], 1, {"partition-id": self.client_id}

    start, sent = replies("parameters", Witness)
    expected = np.stack([update_of(sent[honest], start, "parameters") for honest in HONEST])
    assert np.ptp(expected, axis=0).max() > 0
    for attacker in ATTACKERS:
        assert sent[attacker][0].tobytes() == expected.tobytes()


# The attacks of Xie, Koyejo, Gupta (2018), "Phocas", section 5.1, and the b of Phocas there.
SECTION_5 = {"gaussian": 6, "omniscient": 6, "bit_flip": 8, "gambler": 8}


@pytest.mark.timeout(900)
def test_averaging_fails_where_phocas_hardly_notices():
    """There are 20 clients with the paper's network on the digits, and 6 attackers or none."""
    setting = {"clients": 20, "model": "mlp", "local_steps": 5, "rounds": 30, "eval_every": 30}
    runs = {("none", "phocas", b): {"assumed_byzantine": b} for b in (6, 8)}
    for attack, b in SECTION_5.items():
        attacked = {"attack": attack, "byzantine": 6, "assumed_byzantine": b}
        runs |= {(attack, rule, b): attacked for rule in ("mean", "phocas")}
    configs = [RunConfig(**setting | {"rule": rule} | run) for (_, rule, _), run in runs.items()]
    accuracy = dict(zip(runs, (r["final_accuracy"] for r in run_all(configs)), strict=True))
    for attack, b in SECTION_5.items():
        assert accuracy[attack, "mean", b] < 0.5
        assert accuracy[attack, "phocas", b] > accuracy["none", "phocas", b] - 0.03
    assert accuracy["none", "phocas", 8] > 0.9
