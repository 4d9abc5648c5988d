"""Attacks on a whole federation from where all its clients are seen: for simulations and tests alone.

Nothing here belongs on a server that anybody relies on. Clients of real federations misbehave with the
wrappers and the mod of :mod:`flwr_byzantine.clients`.
"""
