"""Checks of the settings of an aggregator."""

from flwr_byzantine.aggregation.buffers import Buffers, check_buffers
from flwr_byzantine.aggregation.step_sizes import LearningRate, check_learning_rate
from flwr_byzantine.checks import require, require_bool, require_choice
from flwr_byzantine.kernels import check_environment

PAYLOADS = ("parameters", "gradients")
NEEDS_MODEL = (
    "Gradients, reputations and rules that clip need the global model. Call `configure_fit` (or "
    "`configure_train`) before aggregating, as Flower's server does."
)
ON_TOO_FEW, ON_DROPPED, BOUNDS = ("skip", "raise"), ("keep_f", "lower_f"), ("keep", "warn")


def check_settings(
    payload: str,
    learning_rate: LearningRate,
    order_by: str | None,
    on_too_few: str,
    on_dropped: str,
    bound: str,
    count_failures: bool,
    buffers: Buffers,
) -> None:
    """Raise ParameterError unless :class:`.aggregator.Aggregator` accepts these settings."""
    require_choice("payload", payload, PAYLOADS, "Name what your clients send.")
    check_learning_rate("learning_rate", learning_rate)
    named = order_by is None or isinstance(order_by, str)
    advice = "Pass the key of a metric that clients report, such as `partition-id`."
    require(named, "order_by", "the key of a metric, or None", order_by, advice)
    require_choice("on_too_few", on_too_few, ON_TOO_FEW, "Leave it out to skip such rounds.")
    require_choice("on_dropped", on_dropped, ON_DROPPED, "Leave it out for full protection.")
    require_choice("bound", bound, BOUNDS, "Leave it out for full protection.")
    require_bool("count_failures", count_failures)
    check_buffers(buffers)
    check_environment()
