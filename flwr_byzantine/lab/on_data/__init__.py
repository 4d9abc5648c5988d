"""Attacks on the data of apps that stay as they are: what their nodes iterate over is changed on the way."""
