"""Older entry points of Flower, and the ways to install the library."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from ports import free_port, wait_for

from flwr_byzantine.kernels import compiled

REPOSITORY = Path(__file__).resolve().parents[2]
# Seven replies are usable, without the malformed one. Multi-Krum needs seven for f = 2.
ROLES = ["honest"] * 6 + ["hostile", "malformed"]
IMPORT = """
import sys, flwr_byzantine, flwr_byzantine.serverapp
assert "torch" not in sys.modules and "ray" not in sys.modules
print(flwr_byzantine.__file__)
"""


def project(folder):
    return tomllib.loads((folder / "pyproject.toml").read_text())


def test_flwr_is_in_the_range_that_we_declare():
    (declared,) = (d for d in project(REPOSITORY)["project"]["dependencies"] if "flwr" in d)
    assert SpecifierSet(declared.removeprefix("flwr")).contains(importlib.metadata.version("flwr"))


@pytest.mark.parametrize(
    "example", ["examples/digits-numpy", "examples/digits-torch", "deploy/drill/app"]
)
def test_apps_declare_the_same_range(example):
    def flwr(folder):
        needed = map(Requirement, project(folder)["project"]["dependencies"])
        return [requirement.specifier for requirement in needed if requirement.name == "flwr"]

    assert flwr(REPOSITORY / example) == flwr(REPOSITORY)


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("rule", ["trimmed", "krum", "wrapped"])
def test_start_server_and_start_client(rule, tmp_path):
    port = free_port()
    script, address = Path(__file__).parents[1] / "helpers" / "legacy_run.py", f"127.0.0.1:{port}"
    arguments = ["server", address, rule, str(len(ROLES)), "6"]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, script, *arguments], stdout=subprocess.PIPE, stderr=log, text=True
        )
        processes = [server]
        try:
            wait_for(port, server)  # a client that finds no server dies
            clients = [sys.executable, script, "clients", address, *ROLES]
            processes.append(subprocess.Popen(clients, stdout=log, stderr=log))
            answer, _ = server.communicate(timeout=60)
        finally:
            for process in processes:
                process.kill()
                process.wait()
    assert server.returncode == 0, (tmp_path / "log").read_text()[-3000:]
    assert json.loads(answer.splitlines()[-1])["distance"] < 1


def import_from(folder, path):
    """The path at which a fresh Python, started in an empty folder, finds the library."""
    empty = folder / "empty"
    empty.mkdir()
    # -S leaves out this environment's site-packages, and the editable install in it. The packages that the
    # library needs come last on the path.
    packages = str(Path(importlib.metadata.distribution("numpy").locate_file("")))
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(path), packages])}
    done = subprocess.run(
        [sys.executable, "-S", "-c", IMPORT], cwd=empty, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


@pytest.mark.slow
def test_the_wheel_works_from_site_packages(tmp_path):
    source, wheels, target = tmp_path / "source", tmp_path / "wheels", tmp_path / "target"
    source.mkdir()
    for name in ("pyproject.toml", "setup.py", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    for name in ("flwr_byzantine", "clients", "simulations", "deploy"):
        skip = shutil.ignore_patterns("__pycache__", compiled.LIBRARY.name)
        shutil.copytree(REPOSITORY / name, source / name, ignore=skip)
    pip = [sys.executable, "-m", "pip", "-q"]
    subprocess.run([*pip, "wheel", source, "--no-deps", "-w", wheels], check=True)
    (wheel,) = wheels.glob("*.whl")
    assert "-py3-none-" in wheel.name
    assert not wheel.name.endswith("-any.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", target, wheel], check=True)
    assert {path.name.split("-")[0] for path in target.iterdir()} == {"bin", "flwr_byzantine"}
    assert [path.name for path in (target / "bin").iterdir()] == ["flwr-byzantine"]
    assert (target / "flwr_byzantine" / "py.typed").exists()
    kernels = target / "flwr_byzantine" / "kernels"
    assert (kernels / compiled.SOURCE.name).exists()
    assert (kernels / compiled.LIBRARY.name).exists() == compiled.LIBRARY.exists()  # a compiler
    assert import_from(tmp_path, target) == target / "flwr_byzantine" / "__init__.py"


def build(app):
    """Run `flwr build` on an app, and return the bundle."""
    flwr = Path(sys.executable).with_name("flwr")
    subprocess.run([flwr, "build"], cwd=app, check=True, capture_output=True)
    (bundle,) = app.glob("*.fab")
    return bundle


@pytest.mark.slow
def test_a_bundle_that_brings_the_library_works(tmp_path):
    app, unpacked = tmp_path / "app", tmp_path / "unpacked"
    shutil.copytree(REPOSITORY / "examples" / "digits-numpy", app)
    shutil.copytree(REPOSITORY / "flwr_byzantine", app / "flwr_byzantine")
    settings = (app / "pyproject.toml").read_text()
    listed = 'fab-include = ["digits_numpy/**/*.py"'
    (app / "pyproject.toml").write_text(
        settings.replace(listed, f'{listed}, "flwr_byzantine/**/*.py"')
    )
    zipfile.ZipFile(build(app)).extractall(unpacked)
    assert import_from(tmp_path, unpacked) == unpacked / "flwr_byzantine" / "__init__.py"


@pytest.mark.slow
@pytest.mark.parametrize("example", ["digits-numpy", "digits-torch"])
def test_a_bundle_that_lists_the_library_leaves_it_out(example, tmp_path):
    shutil.copytree(REPOSITORY / "examples" / example, tmp_path / "app")
    with zipfile.ZipFile(build(tmp_path / "app")) as bundle:
        names = set(bundle.namelist())
        settings = tomllib.loads(bundle.read("pyproject.toml").decode())
    package = example.replace("-", "_")
    assert {f"{package}/{part}_app.py" for part in ("client", "server")} <= names
    assert not any(name.startswith("flwr_byzantine") for name in names)
    version = importlib.metadata.version("flwr-byzantine")
    (listed,) = (d for d in settings["project"]["dependencies"] if d.startswith("flwr-byzantine"))
    assert SpecifierSet(listed.removeprefix("flwr-byzantine")).contains(version)
