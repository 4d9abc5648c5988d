"""Checks of the settings of ByGARS, ByGARS++ and FLTrust."""

from flwr_byzantine.checks import require, require_bool, require_finite, require_whole


def check_auxiliary(auxiliary: object) -> None:
    """Raise ParameterError if the auxiliary loss cannot be called."""
    require(
        callable(auxiliary) and not isinstance(auxiliary, type),
        "auxiliary",
        "a function `auxiliary(parameters, server_round)` that gives a gradient",
        auxiliary,
        "Pass such a function, or a `TorchAuxiliaryLoss(model, loss_fn, dataset)`.",
    )


def check_settings(
    initial_reputation: float, max_norm_ratio: float, normalize: bool, forget_after: int | None
) -> None:
    """Raise ParameterError if a setting of ByGARS or ByGARS++ cannot work."""
    require_finite(
        "initial_reputation",
        initial_reputation,
        "Leave it out for the paper's 0, or try 1 / (number of clients).",
    )
    require(
        isinstance(max_norm_ratio, int | float)
        and not isinstance(max_norm_ratio, bool)
        and max_norm_ratio > 0,
        "max_norm_ratio",
        "a positive number",
        max_norm_ratio,
        "Pass `math.inf` to set no limit.",
    )
    require_bool("normalize", normalize)
    if forget_after is not None:
        advice = "Pass None to keep all scores."
        require_whole("forget_after", forget_after, 1, advice)
