"""Unusual apps run, or one line says why they do not."""

import pytest
from small_app import small_app

from flwr_byzantine.lab import stress
from flwr_byzantine.lab.cell import Federation, run_cell
from flwr_byzantine.lab.flower_app import load_flower_app

FEW = Federation(4, 1)


def changed(app, file, *pairs):
    """An app with some lines of one of its files replaced."""
    path = app / file
    text = path.read_text()
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return app


def test_mods_of_a_client(tmp_path):
    mod = (
        "from .task import NAME\ndef mod(message, context, call_next):\n"
        "    from tiny.task import NAME\n    reply = call_next(message, context)\n"
        "    for metrics in reply.content.metric_records.values():\n        metrics['seen'] = 1.0\n"
        "    return reply\napp = ClientApp(mods=[mod])"
    )
    app = changed(small_app(tmp_path), "tiny/client.py", ("app = ClientApp()", mod))
    run = run_cell(load_flower_app(app), "median", "sign_flip", FEW)
    assert run.error is None
    assert run.curves["evaluation"][1]["seen"] == 1


def test_components_below_other_objects(tmp_path):
    app = changed(
        small_app(tmp_path), "pyproject.toml",
        ("server:app", "server:Both.inner.app"), ("client:app", "client:Both.inner.app"),
    )  # fmt: skip
    for file in ("tiny/client.py", "tiny/server.py"):
        path = app / file
        path.write_text(path.read_text() + "\nclass Both:\n    class inner:\n        pass\n")
        path.write_text(path.read_text() + "Both.inner.app = app\n")
    assert run_cell(load_flower_app(app), "app", "none", FEW).error is None
    changed(app, "pyproject.toml", ("server:Both.inner.app", "server:Both.none.app"))
    with pytest.raises(ValueError, match="`serverapp` that cannot be imported") as error:
        load_flower_app(app)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("half", ["server", "client"])
def test_a_half_that_fails_when_it_is_imported(tmp_path, half):
    app = changed(
        small_app(tmp_path), f"tiny/{half}.py", ("app = ", "raise KeyError('a\\nb')\napp = ")
    )
    with pytest.raises(ValueError, match=f"`{half}app` that cannot be imported .KeyError") as error:
        stress(app)
    assert "\n" not in str(error.value)


def test_what_is_not_installed_is_told_to_be_installed(tmp_path):
    app = small_app(tmp_path / "an app", top="import flwr_datasets_that_is_not_there")
    with pytest.raises(ValueError, match="install what the app imports"):
        stress(app)
    changed(app, "pyproject.toml", ('version = "1.0.0"', 'version = "1.0.0"\ndependencies = ["x"]'))
    with pytest.raises(ValueError, match="No module named 'flwr_datasets_that") as error:
        stress(app)
    assert str(error.value).endswith(f"Install what the app needs: `pip install '{app}'`.")
    assert "\n" not in str(error.value)


def test_what_is_not_installed_and_is_imported_late(tmp_path):
    app = small_app(tmp_path, train="import flwr_datasets_that_is_not_there")
    with pytest.raises(ValueError, match="no node trained: ModuleNotFoundError: No mod") as error:
        stress(app, clients=4, byzantine=1, rules=[], attacks=[], jobs=1)
    assert "\n" not in str(error.value)


def test_a_module_of_the_apps_own_that_is_missing(tmp_path):
    app = small_app(tmp_path, top="from tiny import nothing_there")
    with pytest.raises(ValueError, match="nothing_there") as error:
        stress(app)
    assert "pip install" not in str(error.value)


@pytest.mark.parametrize("key", ["fab-include", "fab-exclude"])
def test_files_of_the_bundle(tmp_path, key):
    app = small_app(tmp_path)
    include = f'publisher = "somebody"\n{key} = '
    text = (app / "pyproject.toml").read_text()
    for value in ('"tiny/**/*.py"', "[]", "[3]"):
        (app / "pyproject.toml").write_text(text.replace('publisher = "somebody"', include + value))
        with pytest.raises(
            ValueError, match=f"a `{key}` that is no list of at least one pattern"
        ) as error:
            load_flower_app(app)
        assert "\n" not in str(error.value)
    (app / "pyproject.toml").write_text(
        text.replace('publisher = "somebody"', include + '["*.py"]')
    )
    assert run_cell(load_flower_app(app), "app", "none", FEW).error is None


def test_an_app_that_prints_when_it_is_imported_is_kept_quiet(tmp_path, capsys):
    app = small_app(tmp_path, top="import sys; print('loud'); print('loud', file=sys.stderr)")
    settings = {"clients": 4, "byzantine": 1, "rules": [], "attacks": [], "jobs": 1}
    stress(app, **settings)
    shown = capsys.readouterr()
    assert "loud" not in shown.out + shown.err
    stress(app, verbose=True, **settings)
    assert "loud" in capsys.readouterr().out
