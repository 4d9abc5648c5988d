"""Federations on real machines: scripts, units for systemd and Compose, and a drill."""
