"""``python -m deploy.drill``: a real federation on this machine, with malicious nodes and nodes that die."""
