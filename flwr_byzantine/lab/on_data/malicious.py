"""A user's ClientApp that attackers run."""

from __future__ import annotations

from flwr_byzantine.checks import wrong
from flwr_byzantine.lab.flower_app import FlowerApp, load_client_app


def check_malicious(app: FlowerApp, malicious: str) -> None:
    """Raise unless attackers can run it.

    Parameters
    ----------
    app : FlowerApp
        The app under attack.
    malicious : str
        The attackers' ClientApp, ``module:name``.

    Raises
    ------
    ValueError
        If it is not in the folder of the app, or if it is no ClientApp.
    """
    expected = "`module:name` of a ClientApp in the folder of the app"
    advice = "Wrap the clients of the app there. docs/clients.md says how."
    if not app.folder:
        raise wrong("malicious", "left out for an app that is no folder", malicious, advice)
    try:
        load_client_app(app.folder, malicious)
    except ValueError as error:
        reason = str(error).partition("`: ")[2].partition(". ")[0]
        found = f"`malicious = {malicious!r}`: {reason or error}"
        raise wrong("malicious", expected, malicious, advice, found=found) from error
