"""The report on the experiments, and the scoreboard of the papers' claims: `python -m simulations report`."""
