"""A user's app, as its folder describes it."""

from __future__ import annotations

import os
import shlex
import tomllib
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from flwr.clientapp import ClientApp
from flwr.common.config import check_pattern_list_value, flatten_dict
from flwr.common.constant import FAB_EXCLUDE_KEY, FAB_INCLUDE_KEY
from flwr.serverapp import ServerApp
from flwr.supercore.object_ref import load_app

from flwr_byzantine.checks import ParameterError, is_whole, wrong
from flwr_byzantine.lab.app_folder import roots_of
from flwr_byzantine.lab.own_modules import INSTALLED, OwnModules
from flwr_byzantine.lab.scratch import scratch

FILE = "pyproject.toml"


@dataclass(frozen=True)
class FlowerApp:
    """The two halves of an app, and its configuration.

    Parameters
    ----------
    name : str
        The name of the app.
    server : flwr.serverapp.ServerApp
        What the server runs.
    client : flwr.clientapp.ClientApp
        What every node runs.
    config : Mapping[str, Any]
        The run configuration, without nesting.
    code : str
        A digest of the files in the app's folder; empty for an app without a folder. Runs of such an app are
        not kept, because nothing tells when the app changes.
    modules : OwnModules or None
        The modules that the app imports from its folder, if it has one.
    """

    name: str
    server: ServerApp
    client: ClientApp
    config: Mapping[str, Any]
    code: str = ""
    modules: OwnModules | None = field(default=None, compare=False, repr=False)

    @property
    def folder(self) -> str | None:
        """The folder that both halves come from, if they are unchanged."""
        own = self.modules
        both = own is not None and own.halves == (self.server, self.client)
        return str(own.folder) if own is not None and both else None

    def in_use(self) -> AbstractContextManager[None]:
        """Let Python find the app's own modules."""
        return nullcontext() if self.modules is None else self.modules.in_use()

    def anew(self) -> FlowerApp:
        """The app as another process would load it: its modules hold nothing of earlier runs."""
        if self.folder is None:
            return self
        try:
            return load_flower_app(self.folder, self.code)
        except ParameterError:  # it can be imported only once in a process
            return self


def load_flower_app(folder: str | os.PathLike[str], code: str | None = None) -> FlowerApp:
    """Load the app of a folder, unchanged.

    The app gets modules of its own. It never shares them with another app or with an earlier call.

    Parameters
    ----------
    folder : str or Path
        A folder with a ``pyproject.toml`` that has ``[tool.flwr.app.components]``.
    code : str or None
        The digest of the folder's files, if it is known.

    Raises
    ------
    ValueError
        If there is no app, or it cannot be imported.
    """
    described = _described(folder)
    own = _own_modules(folder, described)
    server = _load(own, folder, described, "serverapp", ServerApp)
    client = _load(own, folder, described, "clientapp", ClientApp)
    own.halves = server, client
    name = described.get("project", {}).get("name") or own.folder.name
    config = flatten_dict(described["tool"]["flwr"]["app"].get("config"))
    code = _code_of(own.folder) if code is None else code
    return FlowerApp(str(name), server, client, config, code, own)


def load_apart(folder: str | os.PathLike[str]) -> FlowerApp:
    """Load the app of a folder. Files that it writes meanwhile overwrite nothing."""
    folder = os.path.abspath(os.path.expanduser(os.fspath(folder)))
    with scratch(folder):
        return load_flower_app(folder)


def _code_of(folder: Path) -> str:
    """A digest of an app's files. It tells runs of this version from runs of older ones."""
    digest = sha256()
    for place, below, names in os.walk(folder):
        below[:] = sorted(name for name in below if name not in INSTALLED)
        for path in (Path(place) / name for name in sorted(names)):
            if path.suffix in (".py", ".toml") and path.is_file():
                digest.update(path.relative_to(folder).as_posix().encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()


def load_client_app(folder: str | os.PathLike[str], reference: str | None = None) -> ClientApp:
    """Load what the nodes of an app run, as :func:`load_flower_app` does, without the server's half.

    Parameters
    ----------
    folder : str or Path
        The folder of the app.
    reference : str or None
        Another ClientApp of the folder, ``module:name``, to use instead of the app's own.
    """
    app: ClientApp = _load_half(folder, "clientapp", ClientApp, reference)
    return app


def load_server_app(folder: str | os.PathLike[str], reference: str | None = None) -> ServerApp:
    """Load what the server of an app runs, as :func:`load_client_app` does for the nodes."""
    app: ServerApp = _load_half(folder, "serverapp", ServerApp, reference)
    return app


def _load_half(folder: str | os.PathLike[str], part: str, kind: type, reference: str | None) -> Any:
    """Load one of the two parts, with modules of its own."""
    described = _described(folder)
    if reference is not None:
        described["tool"]["flwr"]["app"]["components"][part] = reference
    return _load(_own_modules(folder, described), folder, described, part, kind)


def _own_modules(folder: str | os.PathLike[str], described: Mapping[str, Any]) -> OwnModules:
    """The modules of an app, before any of them is imported."""
    absolute = Path(os.path.abspath(Path(folder).expanduser()))
    return OwnModules(absolute, roots_of(absolute, described))


def _described(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """What an app's folder says about the app."""
    try:
        described = tomllib.loads((Path(folder).expanduser() / FILE).read_text("utf-8"))
        components = described["tool"]["flwr"]["app"]["components"]
        _ = components["serverapp"], components["clientapp"]
    except OSError:
        raise _no_app(folder, f"no {FILE} there") from None
    except tomllib.TOMLDecodeError as error:
        raise _no_app(folder, f"a {FILE} that is no TOML ({error})") from None
    except (KeyError, TypeError):
        raise _no_app(
            folder, f"a {FILE} without that section, or without one of its two parts"
        ) from None
    for key, value in described["tool"]["flwr"]["app"].items():
        if key in (FAB_INCLUDE_KEY, FAB_EXCLUDE_KEY) and check_pattern_list_value(value, key):
            raise _no_app(folder, f"a `{key}` that is no list of at least one pattern")
    return described


def _load(
    own: OwnModules,
    folder: str | os.PathLike[str],
    described: Mapping[str, Any],
    part: str,
    kind: type,
) -> Any:
    """Import one of the two parts."""
    reference = described["tool"]["flwr"]["app"]["components"][part]
    try:
        with own.in_use():
            loaded = load_app(reference, ValueError, own.path[0])
    except (Exception, SystemExit) as error:
        said = " ".join(str(error).split())
        reason = f"a `{part}` that cannot be imported ({type(error).__name__}: {said})"
        missing = isinstance(error, ModuleNotFoundError) and not own.has(error.name or "")
        install = described.get("project", {}).get("dependencies") and missing
        raise _no_app(folder, reason, str(own.folder) if install else None) from error
    if not isinstance(loaded, kind):
        raise _no_app(folder, f"a `{part}` that is a {type(loaded).__name__}")
    load = load_client_app if kind is ClientApp else load_server_app
    return own.always(loaded, partial(load, reference=reference))


def _no_app(folder: object, found: str, install: str | None = None) -> ParameterError:
    expected = "a folder with a Flower app, whose pyproject.toml has [tool.flwr.app.components]"
    advice = "Name the folder that you give to `flwr run`, and install what the app imports."
    if install is not None:
        advice = f"Install what the app needs: `pip install {shlex.quote(install)}`."
    return wrong("app", expected, str(folder), advice, found=f"`app = {str(folder)!r}`: {found}")


def key_of_rounds(config: Mapping[str, Any], told: str | None = None) -> str:
    """The key of the run configuration that is the number of rounds.

    Parameters
    ----------
    config : Mapping[str, Any]
        The run configuration.
    told : str or None
        The user's choice.

    Raises
    ------
    ValueError
        If the key is missing, or if no key or several keys look like it.
    """
    if told is not None:
        if told not in config:
            raise wrong("rounds_key", f"one of {', '.join(config)}", told, "Choose one of them.")
        return told
    found = [key for key, value in config.items() if "round" in key.lower() and is_whole(value)]
    if len(found) != 1:
        expected = "the key of the run configuration that is the number of rounds"
        shown = ", ".join(found) or "no whole number with `round` in its name"
        whole = any(is_whole(value) for value in config.values())
        advice = "Pass `rounds_key`." if whole else "Leave `rounds` out: the app has no key for it."
        raise wrong("rounds_key", expected, None, advice, found=shown)
    return found[0]
