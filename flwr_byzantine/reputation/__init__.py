"""ByGARS and ByGARS++: scores that clients earn on a small data set of the server's own."""
