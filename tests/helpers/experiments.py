"""The experiments of this project, for the tests that go through all of them."""

from simulations.sweep.experiment import FOLDER, load_experiment


def all_experiments():
    """Return the experiments of this project, by name."""
    return [load_experiment(path) for path in sorted(FOLDER.glob("*.toml"))]


def of_group(group):
    """Return the experiments of a group, by name."""
    return [own for own in all_experiments() if own.group == group]
