"""`make demo`: what it installs and shows. FedAvg breaks, rules hold, and it needs no torch."""

import io
import itertools
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from rich.console import Console

from simulations.demo import install
from simulations.demo.federation import AVERAGE, CONTENDERS, REFERENCE, Setting, accuracies
from simulations.demo.picture import RED, save
from simulations.demo.show import demo
from simulations.demo.verdict import judge, summary

REPOSITORY = next(p for p in Path(__file__).resolve().parents if (p / "pyproject.toml").is_file())
SVG = "{http://www.w3.org/2000/svg}"
SMALL = Setting(rounds=2, steps=2)
FAST = Setting(rounds=12, learning_rate=0.2)


def curves(**ends):
    """Curves that end at these accuracies. All other curves hold."""
    names = {contender.name: 0.94 for contender in CONTENDERS} | {AVERAGE: 0.1} | ends
    return {name: [0.1, *[end] * 6] for name, end in names.items()}


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """A shorter demonstration in one process: whether it held, what it printed, and its folder."""
    out = tmp_path_factory.mktemp("demo") / "deep" / "demo"
    console = Console(file=io.StringIO(), width=120)
    return demo(out, console, setting=FAST, inline=True), console.file.getvalue(), out


def test_fedavg_breaks_and_the_rules_hold_on_skewed_digits(shown):
    holds, _, out = shown
    assert holds
    kept = json.loads((out / "demo.json").read_text())["accuracies"]
    assert list(kept) == [contender.name for contender in CONTENDERS]
    assert {len(curve) for curve in kept.values()} == {FAST.rounds + 1}
    ends = {name: sum(curve[-5:]) / 5 for name, curve in kept.items()}
    assert ends[AVERAGE] < 0.3 < 0.85 < ends[REFERENCE]
    assert ends["Krum"] < ends["Median"] < ends["Phocas"]  # the setting separates the rules
    assert ends["NNM + Krum"] > ends["Krum"] + 0.2


def test_a_short_table_and_the_places_of_the_files_are_printed(shown):
    _, printed, out = shown
    assert "20 clients" in printed
    for contender in CONTENDERS:
        assert re.search(rf"│ {re.escape(contender.name)} +│ +\d+\.\d % │", printed)
    assert re.search(rf"│ {AVERAGE} .* broken +│", printed)
    for name in ("demo.png", "demo.svg", "demo.json"):
        assert str(out / name) in printed
        assert (out / name).stat().st_size > 0


def test_each_line_of_the_picture_has_its_name_beside_it(shown):
    _, _, out = shown
    assert (out / "demo.png").read_bytes().startswith(b"\x89PNG")
    tree = ElementTree.parse(out / "demo.svg")
    texts = {"".join(text.itertext()): text for text in tree.iter(f"{SVG}text")}
    for contender in CONTENDERS:
        (label,) = (t for t in texts if re.fullmatch(rf"{re.escape(contender.name)} +\d+ %", t))
        if contender.name == AVERAGE:
            assert RED in texts[label].get("style")
        else:
            assert RED not in texts[label].get("style")
    assert {"round", "test accuracy (%)"} <= texts.keys()
    heights = sorted(float(text.get("y")) for name, text in texts.items() if name.endswith(" %"))
    assert len(heights) == len(CONTENDERS)
    assert all(below - above > 11.9 for above, below in itertools.pairwise(heights))


def test_the_committed_picture_is_of_these_strategies():
    text = (REPOSITORY / "docs" / "demo.svg").read_text()
    for contender in CONTENDERS:
        assert re.search(rf">{re.escape(contender.name)} +\d+ %<", text)


def test_the_same_accuracies_give_the_same_picture(tmp_path):
    files = [save(curves(), SMALL, tmp_path / name) for name in ("one", "two")]
    for one, two in zip(*files, strict=True):
        assert one.read_bytes() == two.read_bytes()


def test_it_holds_only_if_fedavg_breaks_and_every_rule_that_should_stays_close():
    assert judge(curves()).holds
    assert judge(curves(Krum=0.6, Median=0.7)).holds
    assert not judge(curves(FedAvg=0.9)).holds
    assert not judge(curves(**{REFERENCE: 0.4})).holds
    assert not judge(curves(Phocas=0.8)).holds
    assert not judge(curves(Phocas=float("nan"))).holds
    (complaint,) = judge(curves(Phocas=0.8)).complaints
    assert complaint == "Phocas ends at 80.0%, and FedAvg without an attack at 94.0%."


def test_what_a_rule_is_called_follows_from_what_it_reached():
    text = summary(curves(Krum=0.6, Median=0.2))
    assert "Within 6 points of FedAvg without an attack: Phocas, Multi-Krum, NNM + Krum." in text
    assert "worse on data as skewed as these: Krum." in text
    assert "worse" not in summary(curves())


def test_the_exit_code_says_whether_it_held(monkeypatch, tmp_path):
    from simulations.demo import __main__ as program

    monkeypatch.setattr(sys, "argv", ["simulations.demo", "--out", str(tmp_path)])
    for holds in (True, False):
        monkeypatch.setattr(program, "demo", lambda *_, holds=holds: holds)
        assert program.main() == (0 if holds else 1)


def test_an_engine_that_does_not_start_is_one_line(monkeypatch, tmp_path, capsys):
    from simulations.demo import __main__ as program

    def fails(*_):
        try:
            raise TimeoutError("The node [1] timed out")
        except TimeoutError as error:
            raise RuntimeError("Ending simulation.") from error

    monkeypatch.setattr(program, "demo", fails)
    monkeypatch.setattr(sys, "argv", ["simulations.demo", "--out", str(tmp_path)])
    assert program.main() == 1
    assert (
        capsys.readouterr().out == "TimeoutError: The node [1] timed out\n--verbose shows more.\n"
    )
    monkeypatch.setattr(sys, "argv", ["simulations.demo", "--verbose"])
    with pytest.raises(RuntimeError):
        program.main()


@pytest.mark.slow
@pytest.mark.ray
def test_the_ray_engine_gives_the_same_accuracies_bit_for_bit():
    def nothing(number, accuracy):
        pass

    few = [*CONTENDERS[:2], CONTENDERS[-1]]
    with_ray = accuracies(SMALL, nothing, few)
    assert with_ray == accuracies(SMALL, nothing, few, inline=True)


BLOCKED = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "torchvision"):
            raise ImportError(name)
sys.meta_path.insert(0, Blocked())
from simulations.demo import __main__, federation
from simulations.demo.federation import CONTENDERS, Setting, accuracies
found = accuracies(Setting(rounds=1, steps=1), lambda *_: None, CONTENDERS, inline=True)
assert len(found) == len(CONTENDERS)
"""


def test_it_needs_no_torch():
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_what_installs_it_needs_no_package_at_all():
    code = "from simulations.demo.install import Pip, Path; str(Pip(Path('x')))"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_what_is_installed_is_said_before_it_is():
    text = install.announcement(Path("/somewhere/.venv-demo"))
    assert "/somewhere/.venv-demo" in text
    assert re.search(r"about \d+ packages", text)
    assert "not torch" in text
    size = int(re.search(r"(\d+) MB on disk", text)[1])
    assert 0 < size < 1500


PIP = """Processing /somewhere/rich-14.3.4-py3-none-any.whl
Collecting flwr[simulation]<2,>=1.41
  Downloading flwr-1.41.0-py3-none-any.whl (1.5 MB)
Collecting ray==2.55.1
  Downloading ray-2.55.1-cp311-cp311-manylinux2014_x86_64.whl (73.5 MB)
  Downloading h11-0.16.0-py3-none-any.whl (500 kB)
"""


def test_what_the_library_and_the_demonstration_need_is_installed_and_not_torch():
    names = {re.match(r"[\w-]+", text)[0] for text in install.requirements()}
    assert {"flwr", "numpy", "matplotlib", "scikit-learn"} <= names
    assert "torch" not in names


def test_progress_is_read_from_what_pip_prints(tmp_path):
    pip = install.Pip(tmp_path)
    pip.read(io.StringIO(PIP))
    assert str(pip) == "downloading: 3 packages found, 76 MB"
    pip.line("Installing collected packages: ray, flwr, h11\n")
    assert str(pip) == "installing: 0 of 3 packages"
    (tmp_path / "lib" / "python3.11" / "site-packages" / "ray-2.55.1.dist-info").mkdir(parents=True)
    assert str(pip) == "installing: 1 of 3 packages"


def test_a_failed_installation_says_why_and_is_no_environment(tmp_path, monkeypatch):
    def popen(command, **options):
        code = "print('ERROR: No matching distribution'); raise SystemExit(3)"
        return real([sys.executable, "-S", "-c", code], **options)

    real = subprocess.Popen
    monkeypatch.setattr(install.venv, "create", lambda folder, **_: None)
    monkeypatch.setattr(install.subprocess, "Popen", popen)
    out = io.StringIO()
    assert install.install(tmp_path / "venv", out) == 3
    first, *_, last = out.getvalue().splitlines()
    assert first.startswith("This demonstration needs")
    assert "ERROR: No matching distribution" in out.getvalue()
    assert "`make demo` begins again" in last


def test_make_demo_has_an_environment_of_its_own():
    text = (REPOSITORY / "Makefile").read_text()
    rule = text[text.index("\n$(DEMO)/.ready:") : text.index("\n# Two files run at once")]
    assert "simulations.demo.install $(DEMO)" in rule
    assert "$(DEMO)/bin/python -m simulations.demo" in rule
    assert "$(PYTHON)" not in rule
    assert (
        re.search(r"(?m)^DEMO := (\S+)$", text)[1] + "/"
        in (REPOSITORY / ".gitignore").read_text().splitlines()
    )
