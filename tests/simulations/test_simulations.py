"""Configurations, data, the honest client, and the record of a run."""

import importlib.metadata
import json
import math
import tomllib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from torch import nn

from simulations.catalog import datasets
from simulations.catalog.dealing import Partition
from simulations.catalog.models import MODELS, initial_model
from simulations.catalog.networks import initial_network
from simulations.catalog.partitions import held_out
from simulations.config import RunConfig, parse_arguments
from simulations.federation.app import OWN, main
from simulations.federation.population import honest_client
from simulations.federation.runner import run_all
from simulations.federation.server import innermost, wait_for_clients
from simulations.federation.strategies import build_strategy
from simulations.measure.alignment import Alignment
from simulations.measure.recording import Recorder, initial_state
from simulations.measure.results import hash_arrays, save
from simulations.torch_client import TorchClient
from simulations.torch_model import dump_arrays, evaluate, load_arrays

pytestmark = pytest.mark.torch

PROJECT = Path(__file__).parents[2]


def test_the_flower_app_has_the_keys_and_defaults_of_run_config():
    app = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["flwr"]["app"]
    options = app["config"]
    names = {name.replace("-", "_") for name in options}
    assert names == set(RunConfig.model_fields) | set(OWN)
    for name in OWN:
        options.pop(name)
    assert RunConfig.from_options(options) == RunConfig(rounds=50)


def test_the_flower_app_replaces_a_result_only_where_that_is_asked_for(tmp_path):
    (tmp_path / "result.json").write_text("{}")
    options = {"rounds": 1, "dataset": "image-folder", "data_dir": str(tmp_path / "none")}
    context = SimpleNamespace(run_config=options | {"out": str(tmp_path)})
    with pytest.raises(FileExistsError, match="overwrite=true"):
        main(None, context)
    context.run_config["overwrite"] = True
    with pytest.raises(FileNotFoundError):  # it went on, and found no data
        main(None, context)
    assert (tmp_path / "result.json").read_text() == "{}"


def test_options_are_read_as_people_write_them():
    config = RunConfig.from_options(
        {"rule": "multi-krum", "byzantine": "3", "attack": "sign-flip", "attack-args": "scale=4"}
    )
    assert (config.rule, config.attack, config.attack_args) == (
        "multi_krum",
        "sign_flip",
        {"scale": 4},
    )
    assert (config.byzantine, config.assumed_byzantine) == (3, 3)
    assert RunConfig.model_validate_json(config.model_dump_json()) == config
    assert len({config, config.model_copy()}) == 1


def test_defaults_follow_the_dataset_and_the_payload():
    assert RunConfig().model == "mlp-small"
    assert RunConfig(dataset="mnist").model == "mlp"
    assert RunConfig(dataset="mnist", model="lenet").model == "lenet"
    assert (RunConfig().local_steps, RunConfig(payload="gradients").local_steps) == (5, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rule": "krums"}, "`rule` should be one of fedavg, mean"),
        ({"attack": "gauss"}, "`attack` should be one of none, backdoor"),
        ({"dataset": "digit"}, "`dataset` should be one of digits, mnist"),
        ({"model": "resnet"}, "`model` should be one of mlp-small"),
        ({"byzantine": 21}, "`byzantine` should be at most `clients`, which is 20"),
        ({"rule": "krum", "clients": 6, "byzantine": 2}, "`clients` should be at least 7 for krum"),
        ({"rule": "bulyan", "byzantine": 5}, "`clients` should be at least 23 for bulyan"),
        ({"rule": "krum", "rule_args": {"trim": 1}}, "arguments of Krum"),
        ({"rule": "fedavg", "payload": "gradients"}, "`mean` rather than Flower's own"),
        ({"payload": "gradients", "local_steps": 2}, "`payload` should be `parameters`"),
        ({"attack_args": "epsilon"}, "`name=value name=value`"),
        ({"clients": 0}, "greater than or equal to 1"),
        ({"learning_rate": float("nan")}, "finite"),
        ({"colour": "red"}, "not permitted"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused_with_what_to_do(options, message):
    with pytest.raises(ValidationError, match=message):
        RunConfig(**options)


def test_arguments_are_numbers_truths_or_words():
    assert parse_arguments("a=1 b=0.5, c=true d=word e-f=2") == {
        "a": 1,
        "b": 0.5,
        "c": True,
        "d": "word",
        "e_f": 2,
    }


def test_held_out_samples_belong_to_no_client():
    shares = datasets.partition("digits", "", Partition("iid"), 5, 3, 250)
    reserved = held_out(1437, 250, 3)
    assert len(reserved) == 250
    assert not np.isin(np.concatenate(shares), reserved).any()


def test_digits_are_standardised_and_split_once_and_for_all():
    train, test = datasets.load("digits", "")
    assert (train.x.shape, test.x.shape) == ((1437, 1, 8, 8), (360, 1, 8, 8))
    assert train.x.dtype == torch.float32
    assert train.y.dtype == torch.int64
    assert abs(float(train.x.mean())) < 1e-5
    assert datasets.load("digits", "")[0].x is train.x


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "cifar10", "image-folder"])
def test_missing_data_say_where_they_should_be(tmp_path, name):
    with pytest.raises(FileNotFoundError, match=r"`data_dir` should name a folder"):
        datasets.load(name, str(tmp_path))


def write_images(folder, size):
    """Write images of two classes: dark grey ones, and bright coloured ones."""
    for part, number in (("train", 6), ("test", 3)):
        for place, kind in enumerate(("bright", "dark")):
            (folder / part / kind).mkdir(parents=True)
            for i in range(number):
                colour = (10 + i,) if place else (250, 200 + i, 0)
                image = Image.new("L" if place else "RGB", size, colour[0] if place else colour)
                image.save(folder / part / kind / f"{i}.png")


@pytest.mark.parametrize("name", ["image-folder", "cifar10"])
def test_images_in_folders_are_data(tmp_path, name):
    write_images(tmp_path if name == "image-folder" else tmp_path / "cifar10", (40, 24))
    train, test = datasets.load(name, str(tmp_path))
    assert (train.x.shape, test.x.shape) == ((12, 3, 32, 32), (6, 3, 32, 32))
    assert train.y.tolist() == [0] * 6 + [1] * 6
    assert abs(float(train.x.mean())) < 1e-5
    assert float(train.x.std()) == pytest.approx(1, abs=1e-4)
    assert float(train.x[0].mean()) > float(train.x[6].mean())
    config = RunConfig(dataset=name, data_dir=str(tmp_path))
    assert initial_network(config.model, config.dataset, config.data_dir, config.seed)(
        train.x
    ).shape == (12, 2)


def test_evaluation_counts_the_first_and_the_first_three():
    logits = torch.tensor([[4.0, 3, 2, 1], [1, 2, 3, 4], [1, 2, 3, 4], [4, 3, 2, 1]])
    result = evaluate(nn.Identity(), logits, torch.tensor([0, 1, 0, 3]))
    assert (result.accuracy, result.top3) == (0.25, 0.5)
    np.testing.assert_allclose(result.loss, [0.44, 2.44, 3.44, 3.44] @ np.ones(4) / 4, atol=1e-2)


def test_some_test_samples_are_the_same_for_every_run():
    some = Recorder(RunConfig(test_samples=50)).samples
    again = Recorder(RunConfig(test_samples=50, seed=3, rule="krum")).samples
    assert len(some.y) == 50
    assert torch.equal(some.x, again.x)
    assert len(Recorder(RunConfig()).samples.y) == 360


def test_a_run_may_be_evaluated_on_samples_to_train_on():
    """The figures of Fall of Empires are evaluated so."""
    train, _ = datasets.load("digits", "")
    assert torch.equal(Recorder(RunConfig(evaluate_on="train")).samples.x, train.x)
    some = Recorder(RunConfig(evaluate_on="train", test_samples=50)).samples
    assert len(some.y) == 50
    assert all((train.x == x).flatten(1).all(1).any() for x in some.x)
    with pytest.raises(ValidationError, match="'test' or 'train'"):
        RunConfig(evaluate_on="validation")


def test_every_rule_that_is_sent_gradients_may_have_a_step_size_that_decays():
    decaying = {"payload": "gradients", "learning_rate": 0.5, "learning_rate_decay": 10}
    for rule in ("mean", "krum", "baseline"):
        step = build_strategy(RunConfig(rule=rule, **decaying)).aggregator.learning_rate
        assert [step(1), step(11)] == [0.5, 0.25]
    assert build_strategy(RunConfig(payload="gradients")).aggregator.learning_rate == 0.1
    with pytest.raises(ValidationError, match="they take the steps, not the server"):
        RunConfig(learning_rate_decay=10)


def test_a_step_against_the_gradient_is_told_from_one_along_it():
    config = RunConfig(gradient_samples=10_000, model="lenet")
    alignment = Alignment(config)
    model = initial_network(config.model, config.dataset, config.data_dir, config.seed)
    train, _ = datasets.load("digits", "")
    nn.functional.cross_entropy(model(train.x), train.y).backward()
    before = dump_arrays(model)
    gradient = [p.grad.numpy() for p in model.parameters()]
    squares = sum(float((g.astype(np.float64) ** 2).sum()) for g in gradient)
    for scale, cosine in ((0.1, 1), (-0.1, -1), (0, math.nan)):
        found = alignment.measure(
            before, [w - scale * g for w, g in zip(before, gradient, strict=True)]
        )
        assert found["cosine"] == pytest.approx(cosine, abs=1e-4, nan_ok=True)
        assert found["inner_product"] == pytest.approx(scale * squares, rel=1e-3, abs=1e-9)


def test_the_recorder_compares_steps_where_it_evaluates():
    config = RunConfig(rounds=4, eval_every=2, gradient_samples=100)
    arrays = [tensor.numpy() for tensor in initial_state(config).values()]
    cosines = []
    for step in (0.1, -0.1):  # from the same model, in opposite directions
        recorder = Recorder(config)
        for server_round in range(5):
            recorder.aggregated({}, 0.1, 0)
            recorder.evaluate(server_round, [a + step * (server_round > 1) for a in arrays])
        assert ["cosine" in record for record in recorder.rounds] == [False, True, False, True]
        cosines.append(recorder.rounds[1]["cosine"])
    assert 0 < abs(cosines[0]) < 1
    assert cosines[1] == pytest.approx(-cosines[0], abs=1e-6)


def test_a_finished_run_keeps_its_result_where_ray_is_not_installed(monkeypatch, tmp_path):
    """A server of real SuperNodes needs neither Ray nor any other package that only gets named."""
    real = importlib.metadata.distribution

    def distribution(name):
        if name in ("ray", "numba"):
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(importlib.metadata, "distribution", distribution)
    config = RunConfig(clients=4, byzantine=0, rounds=1, local_steps=1, rule="median")
    (result,) = run_all([config], inline=True)
    assert result["versions"]["ray"] is None
    assert result["versions"]["flwr"] is not None
    assert json.loads(save(result, tmp_path).read_text())["rounds"]


@pytest.mark.parametrize("name", MODELS)
def test_models_take_the_images_they_are_built_for(name):
    for shape in ((1, 28, 28), (3, 32, 32)):
        logits = initial_model(name, shape, 10, 0)(torch.zeros(2, *shape))
        assert logits.shape == (2, 10)


def test_initial_weights_depend_on_the_seed_alone():
    first, again, other = (
        hash_arrays([t.numpy() for t in initial_state(RunConfig(seed=seed)).values()])
        for seed in (1, 1, 2)
    )
    assert first == again != other


def with_batch_norm() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 10)
    )


def make_client(client_id=0, **arguments):
    train, _ = datasets.load("digits", "")
    indices = np.arange(100)
    return TorchClient(
        with_batch_norm, train.x, train.y, indices, client_id=client_id, seed=0, **arguments
    )


def arrays_of(model):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return dump_arrays(model())


@pytest.mark.parametrize("payload", ["parameters", "gradients"])
def test_a_client_repeats_itself_to_the_bit_for_the_same_round(payload):
    start = arrays_of(with_batch_norm)
    client = make_client(payload=payload)
    first, examples, metrics = client.fit(start, {"server-round": 3})
    torch.manual_seed(99)
    make_client(1, payload=payload).fit(start, {"server-round": 1})
    again = make_client(payload=payload).fit(start, {"server-round": 3})[0]
    assert hash_arrays(first) == hash_arrays(again)
    assert (examples, metrics["partition-id"]) == (100, 0)
    for other in (
        client.fit(start, {"server-round": 4})[0],
        make_client(1, payload=payload).fit(start, {"server-round": 3})[0],
    ):
        assert hash_arrays(first) != hash_arrays(other)


def test_a_client_leaves_the_global_random_state_and_its_input_alone():
    start = arrays_of(with_batch_norm)
    for array in start:
        array.flags.writeable = False
    before = torch.get_rng_state()
    make_client(local_steps=3).fit(start, {"server-round": 1})
    assert torch.equal(before, torch.get_rng_state())


def test_weight_decay_adds_the_parameters_to_the_gradient():
    start = arrays_of(with_batch_norm)
    plain, decayed = (
        make_client(payload="gradients", weight_decay=decay).fit(start, {"server-round": 1})[0]
        for decay in (0.0, 0.5)
    )
    trained = [name for name, _ in with_batch_norm().named_parameters()]
    for name, x, g, h in zip(with_batch_norm().state_dict(), start, plain, decayed, strict=True):
        np.testing.assert_allclose(h, g + 0.5 * x if name in trained else g, rtol=1e-5, atol=1e-6)
    moved, _, _ = make_client(learning_rate=0.5, weight_decay=0.5).fit(start, {"server-round": 1})
    for name, x, g, y in zip(with_batch_norm().state_dict(), start, decayed, moved, strict=True):
        if name in trained:
            np.testing.assert_allclose(y, x - 0.5 * g, rtol=1e-5, atol=1e-6)


def test_parameters_after_one_step_are_the_start_minus_the_gradient():
    start = arrays_of(with_batch_norm)
    trained, _, _ = make_client(learning_rate=0.5).fit(start, {"server-round": 1})
    gradient, _, _ = make_client(payload="gradients").fit(start, {"server-round": 1})
    moved = [i for i, g in enumerate(gradient) if g.dtype == np.float32 and g.any()]
    assert moved
    for i in moved:
        np.testing.assert_allclose(trained[i], start[i] - 0.5 * gradient[i], rtol=1e-5, atol=1e-7)


def test_gradients_are_zero_where_nothing_is_trained_and_integers_stay():
    start = arrays_of(with_batch_norm)
    start[6] = np.array(41)
    gradient, _, _ = make_client(payload="gradients").fit(start, {"server-round": 1})
    names = list(with_batch_norm().state_dict())
    assert names[6] == "2.num_batches_tracked"
    assert [g.dtype for g in gradient] == [s.dtype for s in start]
    assert gradient[6] == 41
    assert not gradient[4].any()
    assert not gradient[5].any()


def test_local_epochs_visit_every_sample_once():
    client = make_client(local_epochs=2, batch_size=32)
    batches = list(client._minibatches(np.random.default_rng(0)))
    assert [len(batch) for batch in batches] == [32, 32, 32, 4] * 2
    assert sorted(np.concatenate(batches[:4])) == list(range(100))


def test_a_label_map_poisons_the_labels():
    start = arrays_of(with_batch_norm)
    honest = make_client().fit(start, {"server-round": 1})[0]
    flipped = make_client(label_map=lambda y: 9 - y).fit(start, {"server-round": 1})[0]
    same = make_client(label_map=lambda y: y).fit(start, {"server-round": 1})[0]
    assert hash_arrays(honest) == hash_arrays(same) != hash_arrays(flipped)


def test_training_lowers_the_loss_that_evaluate_reports():
    client = make_client(local_epochs=20)
    start = arrays_of(with_batch_norm)
    before, _, _ = client.evaluate(start, {})
    trained, _, _ = client.fit(start, {"server-round": 1})
    after, examples, metrics = client.evaluate(trained, {})
    assert after < before
    assert examples == 100
    assert metrics["accuracy"] > 0.5


def test_a_model_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="the server trains another model"):
        load_arrays(with_batch_norm(), [np.zeros((1,), np.float32)])


def test_honest_clients_share_one_copy_of_the_data():
    first, second = (honest_client(RunConfig(), i) for i in (0, 1))
    assert isinstance(first, TorchClient)
    assert first.x is second.x
    assert first.model_factory is second.model_factory


def test_the_recorder_evaluates_when_due_and_the_result_is_json(tmp_path):
    seen = []
    config = RunConfig(rounds=5, eval_every=2)
    recorder = Recorder(config, seen.append)
    arrays = [tensor.numpy() for tensor in initial_state(config).values()]
    for server_round in range(6):
        recorder.aggregated({"loss": float("nan"), "partition-id": 3}, 0.1, 0)
        recorder.evaluate(server_round, arrays)
    result = json.loads(save(recorder.result(), tmp_path / "deep" / "run").read_text())
    assert [r["round"] for r in result["rounds"]] == [1, 2, 3, 4, 5]
    assert [r["accuracy"] is None for r in result["rounds"]] == [True, False, True, False, False]
    assert result["rounds"][0]["train_loss"] is None
    assert "partition-id" not in result["rounds"][0]
    assert result["final_accuracy"] == result["rounds"][-1]["accuracy"]
    assert result["parameters_sha256"] == hash_arrays(arrays)
    assert RunConfig(**result["config"]) == config
    assert len(seen) == 5
    assert [path.name for path in (tmp_path / "deep" / "run").iterdir()] == ["result.json"]


def test_the_cause_is_found_in_a_traceback():
    text = "Traceback:\n  File x\nKeyError: 'cell'\n\nmore\nflwr.ClientAppException: worse"
    assert innermost(text) == "KeyError: 'cell'"
    assert innermost("plain") == "plain"


class ThreeNodes:
    def get_node_ids(self):
        return [1, 2, 3]


def test_the_wrong_number_of_supernodes_is_an_error_not_a_wait():
    wait_for_clients(ThreeNodes(), 3)
    for clients in (2, 4):
        with pytest.raises(TimeoutError, match=f"num-supernodes={clients}"):
            wait_for_clients(ThreeNodes(), clients, patience=0.1)
