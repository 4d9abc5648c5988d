"""Start the command line."""

from simulations.commands.cli import app

if __name__ == "__main__":
    app(prog_name="python -m simulations")
