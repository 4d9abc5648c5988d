"""Attacks on the data of unchanged apps: the data are changed on their way to the code that trains."""
