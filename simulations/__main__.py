"""Start the command line."""

from simulations.cli import app

if __name__ == "__main__":
    app(prog_name="python -m simulations")
