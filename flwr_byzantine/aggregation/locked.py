"""Objects with a lock, which copies and pickles leave out."""

import threading
from collections.abc import Mapping
from typing import Any


class Locked:
    """An object with a lock, which one thread may take several times."""

    def __init__(self) -> None:
        self.lock = threading.RLock()

    def __getstate__(self) -> dict[str, Any]:
        """The state for copies and pickles: everything except the lock."""
        return {name: value for name, value in vars(self).items() if name != "lock"}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Take over the state of the original."""
        vars(self).update(state)
        self.lock = threading.RLock()
