"""An app of a user's own, as its folder describes it."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from flwr.clientapp import ClientApp
from flwr.common.config import flatten_dict
from flwr.serverapp import ServerApp
from flwr.supercore.object_ref import load_app

from flwr_byzantine.checks import ParameterError, is_whole, wrong

FILE = "pyproject.toml"


@dataclass(frozen=True)
class FlowerApp:
    """The two halves of an app, and its configuration.

    Parameters
    ----------
    name : str
        What it is called.
    server : flwr.serverapp.ServerApp
        What the server runs.
    client : flwr.clientapp.ClientApp
        What every node runs.
    config : Mapping[str, Any]
        The run configuration, without nesting.
    code : str
        A digest of the files of its folder; empty for an app that comes from none. Runs of such an app are
        not kept, for nothing tells when it changes.
    """

    name: str
    server: ServerApp
    client: ClientApp
    config: Mapping[str, Any]
    code: str = ""


def load_flower_app(folder: str | os.PathLike[str]) -> FlowerApp:
    """Load the app of a folder, unchanged.

    Its modules are imported from the folder, so a process can load one app of a name.

    Parameters
    ----------
    folder : str or Path
        With a ``pyproject.toml`` that has ``[tool.flwr.app.components]``.

    Raises
    ------
    ValueError
        If there is no app, or it cannot be imported.
    """
    described = _described(folder)
    server = _load(folder, described, "serverapp", ServerApp)
    client = _load(folder, described, "clientapp", ClientApp)
    name = described.get("project", {}).get("name") or Path(folder).resolve().name
    config = flatten_dict(described["tool"]["flwr"]["app"].get("config"))
    return FlowerApp(str(name), server, client, config, _code_of(Path(folder)))


def _code_of(folder: Path) -> str:
    """A digest of an app's files, so that runs of an older version are not taken for its own."""
    digest = sha256()
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".py", ".toml") and path.is_file():
            digest.update(path.relative_to(folder).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def load_client_app(folder: str | os.PathLike[str]) -> ClientApp:
    """Load what the nodes of an app run, as :func:`load_flower_app` does, and leave the server's half."""
    app: ClientApp = _load(folder, _described(folder), "clientapp", ClientApp)
    return app


def _described(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """What an app's folder says of it."""
    try:
        described = tomllib.loads((Path(folder) / FILE).read_text())
        components = described["tool"]["flwr"]["app"]["components"]
        _ = components["serverapp"], components["clientapp"]
    except OSError:
        raise _no_app(folder, f"no {FILE} there") from None
    except tomllib.TOMLDecodeError as error:
        raise _no_app(folder, f"a {FILE} that is no TOML ({error})") from None
    except (KeyError, TypeError):
        raise _no_app(folder, f"a {FILE} without it, or without one of the two parts") from None
    return described


def _load(
    folder: str | os.PathLike[str], described: Mapping[str, Any], part: str, kind: type
) -> Any:
    """One of the two parts."""
    reference = described["tool"]["flwr"]["app"]["components"][part]
    try:
        loaded = load_app(reference, ValueError, Path(folder))
    except (Exception, SystemExit) as error:
        said = " ".join(str(error).split())
        reason = f"a `{part}` that cannot be imported ({type(error).__name__}: {said})"
        raise _no_app(folder, reason) from error
    if not isinstance(loaded, kind):
        raise _no_app(folder, f"a `{part}` that is a {type(loaded).__name__}")
    return loaded


def _no_app(folder: object, found: str) -> ParameterError:
    expected = "a folder with a Flower app, whose pyproject.toml has [tool.flwr.app.components]"
    advice = "Name the folder that you give to `flwr run`, and install what the app imports."
    return wrong("app", expected, str(folder), advice, found=f"`app = {str(folder)!r}`: {found}")


def key_of_rounds(config: Mapping[str, Any], told: str | None = None) -> str:
    """The key of the run configuration that is the number of rounds.

    Parameters
    ----------
    config : Mapping[str, Any]
        The run configuration.
    told : str or None
        The user's own word.

    Raises
    ------
    ValueError
        If it is not there, or none or several look like it.
    """
    if told is not None:
        if told not in config:
            raise wrong("rounds_key", f"one of {', '.join(config)}", told, "Choose one of them.")
        return told
    found = [key for key, value in config.items() if "round" in key.lower() and is_whole(value)]
    if len(found) != 1:
        expected = "the key of the run configuration that is the number of rounds"
        shown = ", ".join(found) or "no whole number with `round` in its name"
        raise wrong("rounds_key", expected, None, "Pass `rounds_key`.", found=shown)
    return found[0]
