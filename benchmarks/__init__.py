"""Measures what robust aggregation costs, against Flower's plain averaging and against peers."""
