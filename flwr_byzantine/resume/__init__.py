"""Checkpoints, from which a killed run goes on. They also hold the state of wrapped strategies."""
