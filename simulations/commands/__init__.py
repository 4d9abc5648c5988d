"""The command line, and what it shows in the terminal."""
