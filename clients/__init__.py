"""Flower clients for simulations: wrappers that misbehave, and the honest client they wrap."""
