"""The demonstration, which `make demo` runs: FedAvg breaks under attack, robust rules do not.

It needs neither torch nor the rest of the simulations, so it is installed and shown in a minute or two.
"""
