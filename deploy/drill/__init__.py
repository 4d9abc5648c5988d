"""A real federation on this machine, with offenders in it and nodes that die: ``python -m deploy.drill``."""
