"""A value of a wrong kind gives an error that names the parameter, what is expected, and what to do."""

import numpy as np
import pytest
from flower import every_api
from flwr.client import NumPyClient

from flwr_byzantine import attacks, clients, rules
from flwr_byzantine.checks import ParameterError

NNM = rules.NearestNeighborMixing


def nothing(parameters, server_round):
    return parameters


def make(_):
    return NumPyClient()


@every_api
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("fraction_evaluate", "all"), ("fraction_evaluate", 2), ("fraction_evaluate", -0.1),
        ("fraction_evaluate", float("nan")), ("order_by", 3),
    ],
)  # fmt: skip
def test_keywords_of_both_apis(api, name, value):
    with pytest.raises(ParameterError, match=f"Parameter `{name}`.* should be .*Found `{name} = "):
        api.ours.Median(**{name: value})


@pytest.mark.parametrize(
    ("api", "keywords"),
    [
        ("fit", {"accept_failures": "no"}), ("fit", {"inplace": 2}),
        ("fit", {"fraction_fit": "all"}), ("fit", {"min_evaluate_clients": "3"}),
        ("fit", {"evaluate_fn": 3}), ("fit", {"on_fit_config_fn": {"lr": 1}}),
        ("fit", {"fit_metrics_aggregation_fn": "mean"}),
        ("fit", {"initial_parameters": [np.zeros(3)]}),
        ("message", {"fraction_train": 2}), ("message", {"min_evaluate_nodes": -3}),
        ("message", {"train_metrics_aggr_fn": "mean"}), ("message", {"weighted_by_key": 3}),
    ],
)  # fmt: skip
def test_keywords_of_one_api(api, keywords):
    import flwr_byzantine
    from flwr_byzantine import serverapp

    (name,) = keywords
    with pytest.raises(ParameterError, match=f"Parameter `{name}`.* should be "):
        (flwr_byzantine if api == "fit" else serverapp).Median(**keywords)


def test_flowers_own_defaults_are_accepted():
    from flwr_byzantine import Median

    Median(fraction_fit=1.0, fraction_evaluate=0, min_evaluate_clients=0, evaluate_fn=None)


def test_the_first_model():
    from flwr_byzantine.serverapp import Median

    for arrays in (None, [np.zeros(2)]):
        with pytest.raises(ParameterError, match=r"`initial_arrays` should be an `ArrayRecord`"):
            Median().start(grid=None, initial_arrays=arrays)


@every_api
def test_strategies_with_data_on_the_server(api):
    for keywords, said in (
        ({"auxiliary": NumPyClient}, "`auxiliary` should be a function"),
        ({"auxiliary": nothing, "normalize": "no"}, "`normalize` should be True or False"),
        ({"auxiliary": nothing, "rule": rules.Median()}, "`rule` of ByGARS should be None"),
    ):
        with pytest.raises(ParameterError, match=said):
            api.ours.ByGARS(**keywords)


@every_api
@pytest.mark.parametrize(
    ("step", "advice"),
    [
        (rules.Median(), "That is a rule"), (NNM, r"not its class: `NearestNeighborMixing\("),
        (NNM(1) >> rules.Median(), r"in front of the rule: `NearestNeighborMixing\(num_byzantine=1\)`"),
        ("nnm", "Pass `NearestNeighborMixing`"),
    ],
)  # fmt: skip
def test_pre_aggregations(api, step, advice):
    with pytest.raises(ParameterError, match=f"`pre_aggregation` should be .*{advice}"):
        api.ours.Median(pre_aggregation=step)
    with pytest.raises(TypeError, match="should follow a pre-aggregation"):
        api.ours.Median() >> NNM(1)


def test_rules():
    with pytest.raises(ParameterError, match="not its name"):
        rules.Composition((NNM(1),), "krum")
    with pytest.raises(ParameterError, match="Put a rule behind it"):
        rules.check_rule(NNM(1))
    with pytest.raises(ValueError, match=r"`updates` should be an array of shape \(n, d\)"):
        rules.Krum(1)("updates")
    with pytest.raises(ValueError, match="`updates` should hold arrays, one for each update"):
        rules.Krum(1)([[np.zeros((2, 2)), np.zeros(3)]] * 7)


LIE = attacks.LittleIsEnough()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: clients.MaliciousClient(NumPyClient, attacks.SignFlip()), "`client` should be"),
        (lambda: clients.MaliciousClient(attacks.SignFlip(), NumPyClient()), "`client` should be"),
        (lambda: clients.MomentumClient(NumPyClient().to_client()), "`client` should be"),
        (lambda: clients.LyingClient(NumPyClient(), schedule=5), "`schedule` should be"),
        (lambda: clients.MomentumClient(NumPyClient(), context=3), "`context` should be"),
        (
            lambda: clients.ColludingClient(NumPyClient(), LIE, NumPyClient(), [0], client_id=0),
            "`make_honest` should be",
        ),
        (
            lambda: clients.LabelFlippingClient(NumPyClient(), attacks.LabelFlip()),
            "`make_client` should be",
        ),
        (
            lambda: clients.CorruptedChannelClient(
                NumPyClient(), attacks.BitFlip(), "5", client_id=0
            ),
            "`num_clients` should be",
        ),
        (lambda: clients.attack_mod(3), "`wrap` should be"),
        (lambda: clients.attack_mod(attacks.SignFlip()), "`wrap` should be"),
        (lambda: attacks.Optimized("lie", against=rules.Krum), "not its class"),
    ],
)
def test_clients_and_attacks(wrong, said):
    with pytest.raises(ParameterError, match=said):
        wrong()


def test_functions_that_build_clients_are_accepted():
    clients.LabelFlippingClient(make, attacks.LabelFlip())
    clients.ColludingClient(NumPyClient(), LIE, make, [0], client_id=0)


@every_api
@pytest.mark.parametrize("more", [(), (rules.Median(), NNM(2))])
def test_errors_of_python_name_the_class_that_users_know(api, more):
    with pytest.raises(TypeError, match=r"^ByzantineRobust\.__init__\(\)"):
        api.ours.ByzantineRobust(api.theirs.FedAvg(), *more)
