"""Experiments, and the runs that they need: `python -m simulations sweep`."""
