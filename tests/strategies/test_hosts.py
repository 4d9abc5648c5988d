"""Strategies that a rule cannot serve are refused. A warning names promises that a rule takes away."""

import logging

import numpy as np
import pytest
from flower import APIS, FitApi, Proxy, TrainApi, every_api
from flwr.app import ArrayRecord, ConfigRecord, Context, RecordDict
from flwr.common import ndarrays_to_parameters
from flwr.server import LegacyContext, SimpleClientManager
from flwr.server.workflow import SecAggPlusWorkflow, SecAggWorkflow
from flwr.server.workflow.constant import MAIN_CONFIGS_RECORD, MAIN_PARAMS_RECORD, Key
from flwr.server.workflow.secure_aggregation.secaggplus_workflow import WorkflowState
from flwr.supercore.privacy_accounting import NeighboringRelation, PrivacyConfig, SamplingMethod

from flwr_byzantine import rules

MODEL = [np.zeros(3, np.float32)]
KINDS = ("ServerSideFixed", "ClientSideFixed", "ServerSideAdaptive", "ClientSideAdaptive")


def said(caplog):
    texts = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    return [text for text in texts if "adds noise" in text]


def dp(api, kind, strategy, **options):
    options |= {"clipping_norm": 1.0} if kind.endswith("Fixed") else {"clipped_count_stddev": 9.0}
    make = getattr(api.theirs, f"DifferentialPrivacy{kind}Clipping")
    return make(strategy, noise_multiplier=0.1, num_sampled_clients=1, **options)


class Accountant:
    """Counts a privacy budget, as Flower does if its optional dependency is installed."""

    config = PrivacyConfig(
        1e-5, 100, NeighboringRelation.ADD_OR_REMOVE_ONE, SamplingMethod.NO_AMPLIFICATION
    )


REFUSED = [
    (api, name)
    for api in APIS
    for name in ("FedXgbBagging", "FedXgbCyclic", "FedXgbNnAvg", "Bulyan", "FedAvgAndroid")
    if hasattr(api.theirs, name)
]


@pytest.mark.parametrize(("api", "name"), REFUSED)
def test_strategies_that_cannot_be_served_are_refused(api, name):
    class Mine(getattr(api.theirs, name)):
        """A user's own subclass."""

    why = {"FedXgb": "decision trees", "Bulyan": "selects among", "FedAvg": "raw bytes"}
    expected = next(text for start, text in why.items() if name.startswith(start))
    for strategy in (getattr(api.theirs, name)(), Mine()):
        for wrapped in (strategy, dp(api, "ServerSideFixed", strategy)):
            with pytest.raises(ValueError, match=f"Parameter `strategy` should be.*{expected}"):
                api.ours.ByzantineRobust(wrapped, rules.Median())


@every_api
@pytest.mark.parametrize(
    "name", ["FedAvg", "FedAdam", "FedMedian", "FedTrimmedAvg", "Krum", "FedProx"]
)
def test_others_are_served_without_a_word(api, name, caplog):
    options = {"proximal_mu": 0.1} if name == "FedProx" else {}
    if name == "FedAdam" and api.name == "fit":
        options["initial_parameters"] = ndarrays_to_parameters(MODEL)
    api.ours.ByzantineRobust(getattr(api.theirs, name)(**options), rules.Median())
    assert not caplog.records


@every_api
@pytest.mark.parametrize("kind", KINDS)
def test_differential_privacy_inside_is_warned_of(api, kind, caplog):
    api.ours.ByzantineRobust(dp(api, kind, api.theirs.FedAvg()), rules.Median())
    (text,) = said(caplog)
    assert f"DifferentialPrivacy{kind}Clipping" in text
    assert "Do not report a privacy budget" in text


@every_api
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wrapped", [False, True])
def test_differential_privacy_around_is_warned_of_once(api, kind, wrapped, caplog):
    inner = api.ours.Median()
    if wrapped:
        inner = api.ours.ByzantineRobust(api.theirs.FedAvg(), rules.Median())
    outer = dp(api, kind, inner)
    assert not said(caplog)
    for server_round in (1, 2):
        api.hand_out(outer, MODEL, server_round)
    (text,) = said(caplog)
    assert f"DifferentialPrivacy{kind}Clipping" in text


def test_the_older_strategies_of_differential_privacy_are_warned_of(caplog):
    api = FitApi()
    for name, options in (("DPFedAvgFixed", {"clip_norm": 1.0}), ("DPFedAvgAdaptive", {})):
        caplog.clear()
        make = getattr(api.theirs, name)
        api.ours.ByzantineRobust(make(api.theirs.FedAvg(), 1, **options), rules.Median())
        assert len(said(caplog)) == 1


@pytest.mark.parametrize("kind", ["ServerSideFixed", "ClientSideFixed"])
def test_an_accountant_is_refused(kind):
    api = TrainApi()
    counted = dp(api, kind, api.theirs.FedAvg(), accountant=Accountant())
    with pytest.raises(ValueError, match="`strategy` should be one without an accountant"):
        api.ours.ByzantineRobust(counted, rules.Median())
    late = dp(api, kind, api.ours.Median())
    late.accountant = Accountant()
    with pytest.raises(ValueError, match="one without an accountant"):
        api.hand_out(late, MODEL)


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("make", [SecAggWorkflow, lambda *a: SecAggPlusWorkflow(3, *a)])
def test_secure_aggregation_is_refused(make, wrapped):
    api = FitApi()
    strategy = api.ours.Krum(num_malicious_clients=1)
    if wrapped:
        strategy = api.ours.ByzantineRobust(api.theirs.FedAvg(), rules.Krum(1))
    manager = SimpleClientManager()
    for node in range(5):
        manager.register(Proxy(str(node)))
    state = RecordDict(
        {
            MAIN_CONFIGS_RECORD: ConfigRecord({Key.CURRENT_ROUND: 1}),
            MAIN_PARAMS_RECORD: ArrayRecord(MODEL),
        }
    )
    context = LegacyContext(Context(1, 0, {}, state, {}), strategy=strategy, client_manager=manager)
    with pytest.raises(
        ValueError, match=r"should see the reply of every client. Found secure aggregation"
    ):
        make(2).setup_stage(None, context, WorkflowState())


@every_api
def test_what_is_no_strategy_or_no_rule_is_told_what_to_pass(api):
    around, flowers = api.ours.ByzantineRobust, api.theirs.FedAvg()
    for wrong, text in (
        ((api.theirs.FedAvg, rules.Median()), r"not its class: `FedAvg\(\)`"),
        ((rules.Median(), flowers), "The strategy comes first"),
        ((flowers, api.ours.Median()), r"That is a strategy. Pass its rule, `Median\(\)`, from"),
        ((flowers, rules.Median), "Pass a rule, not its class"),
        ((flowers, "median"), "Pass the rule itself, not its name"),
        ((flowers, rules.NearestNeighborMixing(1)), "Put a rule behind it"),
        ((flowers, flowers), "Pass one of `flwr_byzantine.rules`"),
    ):
        with pytest.raises(ValueError, match=text):
            around(*wrong)


@pytest.mark.parametrize(("api", "name", "home"), [
    (FitApi, "start", "`flwr_byzantine.serverapp`"),
    (TrainApi, "initialize_parameters", "`flwr_byzantine`"),
])  # fmt: skip
def test_a_strategy_of_the_other_api_says_where_the_right_one_is(api, name, home):
    strategy = api.ours.Median()
    with pytest.raises(AttributeError, match=f"'Median' object has no .*import from {home}$"):
        getattr(strategy, name)
    with pytest.raises(AttributeError, match=r"'Median' object has no attribute 'begin'$"):
        strategy.begin  # noqa: B018
    assert not hasattr(strategy, name)
