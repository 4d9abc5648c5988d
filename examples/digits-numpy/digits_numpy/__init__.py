"""Softmax regression on digits with numpy."""
