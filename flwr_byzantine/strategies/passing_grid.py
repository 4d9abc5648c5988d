"""A grid that passes everything on to another grid: the base of grids that change messages."""

from collections.abc import Iterable
from typing import Any

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.run import Run

from flwr_byzantine.checks import require


class PassingGrid(Grid):
    """Passes everything on to another grid.

    Parameters
    ----------
    grid : flwr.serverapp.Grid
        The grid that does the work.
    **options
        Keywords for the next class, if this class is a mixin.

    Raises
    ------
    ValueError
        If ``grid`` is no grid.
    """

    def __init__(self, grid: Grid, **options: Any) -> None:
        advice = "Pass the `grid` that the app's main function is given."
        require(isinstance(grid, Grid), "grid", "Flower's grid", grid, advice)
        self.grid = grid
        super().__init__(**options)

    def set_run(self, run: Run) -> None:
        """Set the run."""
        self.grid.set_run(run)

    @property
    def run(self) -> Run:
        """Run information."""
        return self.grid.run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """Create a message."""
        return self.grid.create_message(content, message_type, dst_node_id, group_id, ttl)

    def get_node_ids(self) -> Iterable[int]:
        """Get node IDs."""
        return self.grid.get_node_ids()

    def get_nodes(self) -> Iterable[Any]:
        """Get nodes."""
        return self.grid.get_nodes()

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send messages."""
        return self.grid.push_messages(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Take the replies that are there."""
        return self.grid.pull_messages(message_ids)

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Send messages and wait for their replies, or for the timeout in seconds."""
        return self.grid.send_and_receive(messages, timeout=timeout)

    def __getattr__(self, name: str) -> Any:
        """Look up in the other grid what this class does not have."""
        if name.startswith("_") or "grid" not in vars(self):
            raise AttributeError(
                f"{type(self).__name__!r} object has no attribute {name!r}", name=name
            )
        return getattr(self.grid, name)


def kind_of_message(message: Message) -> str:
    """The first part of a message's type, such as ``train`` in ``train.local``."""
    return message.metadata.message_type.split(".")[0]
