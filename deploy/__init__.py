"""Scripts, systemd units and a Compose file for federations on real machines, and an attack drill."""
