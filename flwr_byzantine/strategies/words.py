"""The names of things in each API of Flower."""

from flwr_byzantine.aggregation.progress import Words

_SAME = {name: name for name in ("beta", "iterations", "smoothing", "threshold")}
# The names of a rule's parameters in each API.
FIT_WORDS = _SAME | {
    "trim": "num_malicious_clients",
    "num_byzantine": "num_malicious_clients",
    "num_selected": "num_clients_to_keep",
}
MESSAGE_WORDS = _SAME | {
    "trim": "num_malicious_nodes",
    "num_byzantine": "num_malicious_nodes",
    "num_selected": "num_nodes_to_select",
}
TOLD = {*FIT_WORDS.values(), *MESSAGE_WORDS.values()}
FIT_API = Words()
MESSAGE_API = Words(
    first_model="initial_arrays",
    minimums=("min_train_nodes", "min_evaluate_nodes", "min_available_nodes"),
    clients="nodes",
    waits=True,
    fraction="fraction_train",
)
_PAIRS = (
    ("num_malicious_clients", "num_malicious_nodes"),
    ("num_clients_to_keep", "num_nodes_to_select"),
    ("fraction_fit", "fraction_train"),
    ("min_fit_clients", "min_train_nodes"),
    ("min_evaluate_clients", "min_evaluate_nodes"),
    ("min_available_clients", "min_available_nodes"),
    ("fit_metrics_aggregation_fn", "train_metrics_aggr_fn"),
    ("evaluate_metrics_aggregation_fn", "evaluate_metrics_aggr_fn"),
    ("initial_parameters", "start(initial_arrays=...)"),
    ("evaluate_fn", "start(evaluate_fn=...)"),
    ("on_fit_config_fn", "start(train_config=...)"),
    ("on_evaluate_config_fn", "start(evaluate_config=...)"),
)
# For a strategy of one API: what strategies of the other API have, and where these are.
HOOKS = {
    "aggregate_fit": (
        {"start", "configure_train", "aggregate_train"},
        "For the Message API, import from `flwr_byzantine.serverapp`",
    ),
    "Message": (
        {"initialize_parameters", "configure_fit", "aggregate_fit"},
        "For the `aggregate_fit` API, import from `flwr_byzantine`",
    ),
}
# Each API's word for a keyword of the other one.
COUNTERPARTS = dict(_PAIRS) | {b: a for a, b in _PAIRS}
