"""Environment variables that Flower, Ray and numpy's linear algebra read once, at import or start."""

import os

DEFAULTS = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "OPENBLAS_NUM_THREADS": "1",  # the processes share the cores, and no sum depends on their number
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # silences a FutureWarning; no client uses a GPU
}


def set_defaults() -> None:
    """Choose runs that send no telemetry and install nothing, unless the user chose otherwise."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
