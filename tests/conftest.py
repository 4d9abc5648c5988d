"""Keep every test run apart from the user's own Flower and Ray."""

import os
import shutil
import tempfile
from pathlib import Path

# A short path, because Ray puts unix sockets below it, and their names have at most about 100 bytes.
_SCRATCH = Path(tempfile.mkdtemp(prefix="fbt-", dir="/tmp" if Path("/tmp").is_dir() else None))

os.environ.update(
    FLWR_HOME=str(_SCRATCH / "flwr"),
    FLWR_TELEMETRY_ENABLED="0",
    FLWR_DISABLE_UPDATE_CHECK="1",
    FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION="1",
    RAY_TMPDIR=str(_SCRATCH),
    RAY_USAGE_STATS_ENABLED="0",
    MPLBACKEND="Agg",
)
os.environ.pop("RAY_ADDRESS", None)


def pytest_unconfigure() -> None:
    """Remove what Flower and Ray wrote."""
    shutil.rmtree(_SCRATCH, ignore_errors=True)
