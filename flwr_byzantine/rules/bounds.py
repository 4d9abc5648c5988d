"""What is checked of f: that it is a number of clients, and that a theorem says something about it.

That n is large enough for f is :attr:`flwr_byzantine.rules.Rule.min_updates`, which each rule states.
"""

from flwr_byzantine.checks import require_whole


def check_f(rule: object, name: str, value: object, *, least: int = 0) -> None:
    """Make f, or another count of a rule, Python's own whole number.

    Raises
    ------
    ParameterError
        Unless it is a whole number of at least ``least``.
    """
    advice = (
        "Pass the number of Byzantine clients to survive."
        if least == 0
        else "Leave it out for the paper's choice."
    )
    require_whole(name, value, least, advice, owner=type(rule).__name__)
    object.__setattr__(rule, name, int(value))  # type: ignore[call-overload]  # numpy's wrap around


def check_theorem(holds: bool, bound: str, **found: int) -> None:
    """Raise ValueError where a theorem says nothing, naming what it asks for."""
    if not holds:
        values = ", ".join(f"{name} = {value}" for name, value in found.items())
        raise ValueError(f"The variance bound should be asked for where {bound}. Found `{values}`.")
