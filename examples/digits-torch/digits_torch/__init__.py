"""A small network on digits with PyTorch."""
