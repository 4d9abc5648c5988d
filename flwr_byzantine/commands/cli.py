"""``flwr-byzantine``: tools that help to run a federation, and to attack your own app."""

import runpy
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

SIMULATIONS = "simulations"  # a folder beside the library, which only the repository has
THEIRS = {
    "run": "Run one simulated federation and write its result.",
    "sweep": "Run a grid of simulations that a file describes.",
    "report": "Draw the results of a sweep.",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command, and return the exit code.

    Parameters
    ----------
    argv : Sequence[str] or None
        The arguments. None takes those of the process.
    """
    try:
        import typer  # noqa: F401
    except ImportError:  # typer comes with Flower, so Flower is missing
        from flwr_byzantine.commands.doctor import report

        return report()
    from flwr_byzantine.commands.app import app

    if _simulations_are_there():
        _add_simulations(app)
    try:
        app(None if argv is None else list(argv), prog_name="flwr-byzantine")
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return 0


def _simulations_are_there() -> bool:
    """Whether the module of this name is ours, and not a module of a user's app."""
    found = find_spec(SIMULATIONS)
    if found is None or found.origin is None:
        return False
    return Path(found.origin).resolve().parents[1] == Path(__file__).resolve().parents[2]


def _add_simulations(app: Any) -> None:
    """Add the commands of the simulations, which read their own arguments."""
    import typer

    anything = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
    known = {command.name for command in app.registered_commands}

    def add(name: str) -> None:
        def run(context: typer.Context) -> None:
            sys.argv = [SIMULATIONS, name, *context.args]
            runpy.run_module(SIMULATIONS, run_name="__main__", alter_sys=True)

        app.command(name, help=THEIRS[name], context_settings=anything)(run)

    for name in THEIRS:
        if name not in known:
            add(name)


if __name__ == "__main__":
    sys.exit(main())
