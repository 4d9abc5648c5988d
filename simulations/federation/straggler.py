"""A client that never answers when it is asked."""

from __future__ import annotations

from flwr.client import NumPyClient
from flwr.common import NDArrays, Scalar


class Straggler(NumPyClient):
    """A client that never sends an update.

    Parameters
    ----------
    client_id : int
        The number of the client.
    """

    def __init__(self, client_id: int) -> None:
        self.client_id = client_id

    def get_properties(self, config: dict[str, Scalar]) -> dict[str, Scalar]:
        """Return the client's number, like every client."""
        return {"partition-id": self.client_id}

    def fit(
        self, parameters: NDArrays, config: dict[str, Scalar]
    ) -> tuple[NDArrays, int, dict[str, Scalar]]:
        """Fail."""
        raise TimeoutError("This client is a straggler: it does not answer.")
