"""How strategies are declared: visible keywords, errors in the user's words, and copies."""

import copy
import importlib
import inspect
import pickle
import re
import subprocess
import sys
from dataclasses import dataclass, replace

import numpy as np
import pytest
from cases import AS_BARE, every_strategy, gaussian
from flower import FitApi, TrainApi, every_api, replies_of, strategy_of
from quadratic import Quadratic

import flwr_byzantine
from flwr_byzantine import _moved, rules
from flwr_byzantine.strategies.base import RobustStrategy

NOT_DECLARED = {"TooFewUpdatesError", "RobustFedAvg", "ByzantineRobust"}
STRATEGIES = [
    name for name in flwr_byzantine.__all__ if name[0].isupper() and name not in NOT_DECLARED
]
OURS = {
    "suspicion",
    "on_suspect",
    "quarantine",
    "node_names",
    "pre_aggregation",
    "trusted_weights",
    "payload",
    "learning_rate",
    "order_by",
    "on_too_few",
    "on_dropped",
    "bound",
    "buffers",
    "audit_log",
    "checkpoint",
    "cap_examples",
    "count_failures",
}
ALONE = {case.name for case in AS_BARE if case.takes_f}


@every_api
@pytest.mark.parametrize("name", STRATEGIES)
def test_signatures_show_flowers_keywords_and_ours(api, name):
    shown = inspect.signature(getattr(api.ours, name)).parameters
    theirs = inspect.signature(api.theirs.FedAvg).parameters
    assert {*theirs} | OURS <= {*shown}
    assert all(p.kind is inspect.Parameter.KEYWORD_ONLY for p in shown.values())
    assert (api.f_name in shown) == (name in ALONE)
    for key, parameter in theirs.items():  # None stands for the number that the rule needs
        least = re.fullmatch("min_(fit|train|available)_(clients|nodes)", key)
        assert shown[key].default == (None if least else parameter.default)


@every_api
def test_wrappers_show_ours(api):
    shown = inspect.signature(api.ours.ByzantineRobust).parameters
    assert {*shown} == {"strategy", "rule", *OURS}


def test_options_are_those_of_the_constructor():
    """The options and the constructor have the same keywords."""
    taken = {*inspect.signature(RobustStrategy.__init__).parameters} - {"self", "rule", "kwargs"}
    assert taken == OURS


@every_api
@pytest.mark.parametrize("name", STRATEGIES)
def test_a_users_own_subclass_shows_its_own_keywords(api, name):
    class Mine(getattr(api.ours, name)):
        def __init__(self, limit: int, **more: object) -> None:
            super().__init__(**more)

    assert [*inspect.signature(Mine).parameters] == ["limit", "more"]


@every_api
@every_strategy
def test_a_subclass_that_says_nothing_is_its_base(api, case):
    base = getattr(api.ours, case.name)

    class Mine(base):
        pass

    given = {api.f_name: 1} if case.takes_f else {}
    strategy = Mine(**given)
    assert inspect.signature(Mine) == inspect.signature(base)
    assert strategy.rule == base(**given).rule
    if case.takes_f:
        assert getattr(strategy, api.f_name) == 1
        setattr(strategy, api.f_name, 2)
        assert strategy.rule == base(**{api.f_name: 2}).rule
        assert "num_malicious" in inspect.getdoc(Mine.__init__) + inspect.getdoc(base)


WORDS = [
    (FitApi, "num_malicious_nodes", "`num_malicious_clients`"),
    (FitApi, "min_train_nodes", "`min_fit_clients`"),
    (FitApi, "num_nodes_to_select", "`num_clients_to_keep`"),
    (FitApi, "fraction_train", "`fraction_fit`"),
    (FitApi, "train_metrics_aggr_fn", "`fit_metrics_aggregation_fn`"),
    (TrainApi, "num_malicious_clients", "`num_malicious_nodes`"),
    (TrainApi, "min_fit_clients", "`min_train_nodes`"),
    (TrainApi, "num_clients_to_keep", "`num_nodes_to_select`"),
    (TrainApi, "initial_parameters", "initial_arrays"),
    (TrainApi, "evaluate_fn", "start.evaluate_fn"),
]


@pytest.mark.parametrize(("make", "word", "other"), WORDS)
def test_a_keyword_of_the_other_api_names_this_apis(make, word, other):
    with pytest.raises(TypeError, match=rf"{word}.*{other}"):
        make().ours.MultiKrum(**{word: 1})


@every_api
@pytest.mark.parametrize("name", [*STRATEGIES])
def test_unknown_keywords_are_refused(api, name):
    arguments = {"auxiliary": Quadratic([0.0])} if name.startswith(("ByGARS", "FLTrust")) else {}
    with pytest.raises(TypeError, match="surprise"):
        getattr(api.ours, name)(**arguments, surprise=1)


@every_api
@every_strategy
@pytest.mark.parametrize("value", [-1, 1.5, "2", None])
def test_errors_name_the_parameter_that_the_user_wrote(api, case, value):
    if not case.takes_f:
        pytest.skip("takes no f")
    message = rf"Parameter `{api.f_name}` of \w+ should be .* Found `{api.f_name} = "
    with pytest.raises(ValueError, match=message) as error:
        getattr(api.ours, case.name)(**{api.f_name: value})
    assert "num_byzantine" not in str(error.value)
    assert "`trim`" not in str(error.value)


@every_api
@pytest.mark.parametrize("name", ["MultiKrum", "MultiBulyan"])
def test_errors_name_m_as_the_user_wrote_it(api, name):
    with pytest.raises(ValueError, match=f"Parameter `{api.m_name}` of {name}"):
        getattr(api.ours, name)(**{api.m_name: 0})


@every_api
@every_strategy
def test_derived_strategies_hand_on_flowers_keywords(api, case):
    """Public apps write ``super().__init__(*args, **kwargs)`` in a subclass."""
    base = getattr(api.ours, case.name)

    class Own(base):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)

    class Named(base):
        def __init__(self, run_name, **kwargs):
            super().__init__(**kwargs)

    made = {"base": base}  # as a notebook or a runner of documentation may define it
    exec(
        "class Nowhere(base):\n    def __init__(self, **kw):\n        super().__init__(**kw)", made
    )
    f = {api.f_name: 1} if case.takes_f else {}
    made["Nowhere"].__init__.__module__ = made["Nowhere"].__module__ = None
    made["Nowhere"](**f)
    given = {name: None for name in inspect.signature(base).parameters if name.endswith("_fn")}
    if api.name == "fit":
        given |= {"initial_parameters": None}
        assert given.keys() >= {"evaluate_fn", "on_fit_config_fn", "on_evaluate_config_fn"}
    Own(**f, **given)
    Named("name", **f, **given)
    other = {"fit": "num_malicious_nodes", "train": "evaluate_fn"}[api.name]
    if case.takes_f or api.name == "train":
        with pytest.raises(TypeError, match=rf"Own\(\) .* {other!r}: in this API"):
            Own(**{other: 1})


@every_api
@every_strategy
def test_a_misspelt_keyword_and_a_value_without_a_name_are_refused(api, case):
    kind = getattr(api.ours, case.name)
    with pytest.raises(TypeError, match=rf"{case.name}\(\) .* Did you mean `audit_log`\?"):
        kind(audit_logs="log")
    with pytest.raises(TypeError, match=rf"{case.name}\(\) .*'xyz'. Its keywords are .*payload"):
        kind(xyz=1)
    for letter in ("f", "trim", "num_byzantine"):
        text = f"name for it is `{api.f_name}`" if case.takes_f else "its rule takes no such number"
        with pytest.raises(TypeError, match=text):
            kind(**{letter: 2})
    example = f"`{case.name}\\({api.f_name}=2\\)`" if case.takes_f else "`fraction_evaluate=0.5`"
    with pytest.raises(TypeError, match=r"ByzantineRobust\(\) .* Did you mean `audit_log`\?"):
        api.ours.ByzantineRobust(api.theirs.FedAvg(), rule=rules.Median(), audit_logs="log")
    with pytest.raises(TypeError, match=f"takes keywords only. Found 2 .* as in {example}"):
        kind(2)


@every_api
@every_strategy
@pytest.mark.parametrize("how", [copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))])
def test_strategies_can_be_copied_and_pickled(api, case, how, tmp_path):
    x = gaussian(case.least(1), 5)
    strategy = strategy_of(api, case, 1, audit_log=tmp_path / "log", checkpoint=tmp_path / "run")
    api.hand_out(strategy, [x[0]])
    api.aggregate(strategy, replies_of(api, x))
    again = how(strategy)
    assert type(again) is type(strategy)
    assert again.audit == strategy.audit
    results = [api.aggregate(one, replies_of(api, x + 1), 2)[0] for one in (strategy, again)]
    np.testing.assert_array_equal(*results)
    assert again.aggregator.lock is not strategy.aggregator.lock


@every_api
@pytest.mark.parametrize("name", ["ByGARS", "ByGARSPlusPlus"])
@pytest.mark.parametrize("how", [copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))])
def test_reputations_go_with_the_copy(api, name, how):
    strategy = getattr(api.ours, name)(auxiliary=Quadratic(np.zeros(3)), initial_reputation=0.5)
    wrapped = api.ours.ByzantineRobust(api.theirs.FedAvgM(), rules.Median())
    how(wrapped)
    x = gaussian(3, 3)
    api.hand_out(strategy, [x[0]])
    api.aggregate(strategy, replies_of(api, x))
    again = how(strategy)
    assert again.reputations == strategy.reputations
    for one in (strategy, again):
        api.hand_out(one, [x[1]], server_round=2)
        api.aggregate(one, replies_of(api, x + 1), 2)
    assert again.reputations == strategy.reputations


@dataclass(frozen=True)
class Mine(rules.Krum):
    """A Krum with one more field."""

    label: str = ""


def test_rules_can_be_extended_and_replaced():
    x = gaussian(9, 4)
    mine = Mine(2, label="a")
    np.testing.assert_array_equal(mine(x), rules.Krum(2)(x))
    assert mine.num_selected == 1
    assert replace(rules.Krum(2), num_byzantine=1) == rules.Krum(1)
    assert replace(mine, num_byzantine=1) == Mine(1, label="a")
    assert mine.without(1) == Mine(1, label="a")
    assert repr(rules.Krum(2)) == "Krum(num_byzantine=2)"
    assert rules.Krum(num_byzantine=2).slowdown(16) == rules.Krum(2).relative_rate(16) == 0.25


@pytest.mark.parametrize("case", AS_BARE, ids=str)
def test_rules_can_be_pickled(case):
    rule = case.make(1)
    assert pickle.loads(pickle.dumps(rule)) == copy.deepcopy(rule) == rule


@pytest.mark.parametrize("old", _moved.MOVED)
def test_old_names_of_modules_are_the_new_ones(old):
    module = importlib.import_module(f"flwr_byzantine.{old}")
    assert module is importlib.import_module(f"flwr_byzantine.{_moved.MOVED[old]}")
    assert module.__name__ == module.__spec__.name == f"flwr_byzantine.{_moved.MOVED[old]}"


BLOCKED = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocked())
"""


def run_without(blocked, program):
    command = [sys.executable, "-c", BLOCKED.format(blocked=set(blocked)) + program]
    return subprocess.run(command, capture_output=True, text=True)


def test_rules_and_attacks_need_neither_flower_nor_torch():
    done = run_without(
        ("flwr", "torch", "ray"),
        "import numpy as np\n"
        "from flwr_byzantine import rules, attacks\n"
        "print(rules.Phocas(1)(np.ones((4, 2))), attacks.SignFlip())",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("[1. 1.]")


def test_the_doctor_says_that_flower_is_missing():
    program = "from flwr_byzantine.commands.cli import main\nsys.exit(main(['doctor']))"
    done = run_without(("flwr",), program)
    assert done.returncode == 1, done.stderr
    assert "no server API of Flower was found" in done.stdout


def test_nothing_is_loaded_before_it_is_used():
    done = run_without(
        (),
        "import flwr_byzantine\nprint({'flwr', 'torch', 'ray', 'ctypes'} & {*sys.modules})",
    )
    assert done.stdout == "set()\n", done.stderr


@pytest.mark.parametrize("package", ["flwr_byzantine", "flwr_byzantine.serverapp"])
def test_all_that_is_public_can_be_found_and_nothing_else(package):
    module, starred = importlib.import_module(package), {}
    exec(f"from {package} import *", starred)
    assert {*starred} - {"__builtins__"} == {*module.__all__} <= {*dir(module)}
    assert len(module.__all__) == len({*module.__all__})
    assert "OfF" not in module.__all__
    with pytest.raises(AttributeError, match=r"'flwr_byzantine\S*' has no attribute 'Crumb'"):
        module.Crumb  # noqa: B018


def test_names_can_be_listed_without_flower():
    done = run_without(("flwr",), "import flwr_byzantine\nprint(dir(flwr_byzantine))")
    assert "__version__" in done.stdout, done.stderr
