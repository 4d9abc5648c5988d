"""The commands of ``python -m flwr_byzantine``."""
