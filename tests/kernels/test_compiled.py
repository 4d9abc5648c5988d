"""The compiled kernels against numpy's for every instruction set, and which kernels are used."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import flwr_byzantine
from flwr_byzantine.kernels import Columns, Reduction, compiled, reference
from flwr_byzantine.kernels.columns import BFLOAT16, DOUBLE, HALF, SINGLE, Target, computed_in

KINDS = {"float16": HALF, "bfloat16": BFLOAT16, "float32": SINGLE, "float64": DOUBLE}


def instruction_sets():
    """The instruction sets of this processor that the library was compiled for. None without a library."""
    try:
        library = compiled._load()
    except compiled.UnusableLibraryError:
        return []
    usable = compiled.INSTRUCTION_SETS[: 1 + library.kernels_instruction_set()]
    return [name for name in usable if hasattr(library, f"mix_float_{name}")]


@pytest.fixture(params=instruction_sets())
def kernels(request):
    return compiled.Compiled(compiled._load(), request.param)


def drawn(random, size, dtype):
    """Values of many sizes. Some are whole numbers, which tie, and some are not finite."""
    x = random.normal(size=size) * 10.0 ** random.integers(-3, 3)
    x = np.round(x) if random.random() < 0.4 else x
    if random.random() < 0.4:
        at = random.random(size) < 0.05
        x[at] = random.choice([np.nan, np.inf, -np.inf, 6e4, 1e-7], at.sum())
    with np.errstate(over="ignore"):
        return reference.narrowed(x.astype(computed_in(dtype)), dtype)


def mixing(random, k, n):
    """A mixing matrix with many zeros: of any numbers, or of averages."""
    weights = random.normal(size=(k, n)) * (random.random((k, n)) < 0.6)
    if random.random() < 0.5:
        weights = (weights != 0) / np.maximum(1, (weights != 0).sum(axis=1, keepdims=True))
    return np.ascontiguousarray(weights, float)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(40))
def test_compiled_kernels_do_what_numpy_does(kernels, kind, seed):
    """Results without a sum over columns are equal to the last bit."""
    random, dtype = np.random.default_rng(seed), KINDS[kind]
    n, sizes = int(random.integers(1, 24)), random.integers(0, 700, random.integers(1, 5))
    segments = [[drawn(random, size, dtype) for _ in range(n)] for size in sizes]
    if n > 2 and random.random() < 0.3:
        for segment in segments:
            segment[1] = segment[0].copy()
    columns = Columns(segments, dtype, n)
    base = tuple(drawn(random, size, dtype) for size in sizes) if random.random() < 0.7 else None
    weights = mixing(random, int(random.integers(1, 14)), n) if random.random() < 0.6 else None
    k = n if weights is None else len(weights)
    keep = int(random.integers(1, k + 1)) if random.random() < 0.6 else None
    reduction = Reduction(int(random.integers(0, (k + 1) // 2)), keep)
    lo, hi = sorted(random.integers(0, sizes.sum() + 1, 2))
    factors = (1.0, -0.5) if base is not None and random.random() < 0.5 else (0.0, 1.0)

    def results(kernels):
        def stored(function, *arguments):
            out = tuple(np.zeros(size, dtype) for size in sizes)
            replaced = function(columns, *arguments, Target(base, out, *factors), lo, hi)
            return replaced, [values.tobytes() for values in out]

        yield stored(kernels.reduce, weights, reduction)
        yield stored(kernels.mix, np.ones(n) / n if weights is None else weights[0])

    assert list(results(kernels)) == list(results(reference))
    vector = tuple(np.full(size, 0.5, computed_in(dtype)) for size in sizes)
    for name, arguments in [
        ("distances", ()), ("inner_products", (base, vector)), ("inner_products", (base, None)),
    ]:  # fmt: skip
        ours, theirs = (
            getattr(module, name)(columns, *arguments, lo, hi) for module in (kernels, reference)
        )
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-9)
    ours, theirs = (module.sizes(columns, base, lo, hi) for module in (kernels, reference))
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-5)
    known = ~np.isnan(theirs[0])
    np.testing.assert_array_equal(ours[1][known], theirs[1][known])


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_every_half_is_read_and_written_as_it_is(kernels, kind):
    dtype = KINDS[kind]
    values = np.arange(1 << 16, dtype=np.uint16).view(dtype)
    for module in (kernels, reference):
        out = np.zeros(values.size, dtype)
        target = Target(None, (out,), 0.0, 1.0)
        replaced = module.mix(Columns([[values]], dtype, 1), np.ones(1), target, 0, values.size)
        wide, result = reference.widened(values), reference.widened(out)
        finite = np.isfinite(wide)
        assert replaced == (~finite).sum()
        np.testing.assert_array_equal(result[finite], wide[finite])
        assert np.isnan(result[~finite]).all()


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_halves_are_rounded_to_the_nearest(kernels, kind):
    """The mean of two neighbours lies between them, and is rounded to the even one."""
    dtype = KINDS[kind]
    low = np.arange(0x7BFF if kind == "float16" else 0x7F7F, dtype=np.uint16)
    rows = [low.view(dtype), (low + 1).astype(np.uint16).view(dtype)]
    out = np.zeros(low.size, dtype)
    target = Target(None, (out,), 0.0, 1.0)
    assert kernels.mix(Columns([rows], dtype, 2), np.full(2, 0.5), target, 0, low.size) == 0
    np.testing.assert_array_equal(out.view(np.uint16), low + (low & 1))


def test_a_float16_that_overflows_gives_way_to_the_base(kernels):
    rows = [np.full(40, 6e4, np.float16)]
    base, out = np.full(40, 5e4, np.float16), np.zeros(40, np.float16)
    target = Target((base,), (out,), 1.0, 1.0)
    assert kernels.mix(Columns([rows], HALF, 1), np.ones(1), target, 0, 40) == 40
    np.testing.assert_array_equal(out, base)


def in_a_process(code, package=None, **environment):
    """Run code in a new process, perhaps with another copy of the package. Return what it printed."""
    root = Path(flwr_byzantine.__file__).parents[1] if package is None else package
    environment = {**os.environ, "PYTHONPATH": str(root), **environment}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, cwd=root)


MEDIAN = (
    "from flwr_byzantine import rules\nfrom flwr_byzantine.kernels.compiled import choice\n"
    "import numpy as np\nfor _ in range(3): print(rules.Median()(np.array([[1.0], [2.0], [4.0]])))\n"
    "print(choice().name)"
)


@pytest.fixture
def without_library(tmp_path):
    """A copy of the package as it is after an installation without a compiler."""
    package = Path(flwr_byzantine.__file__).parent
    leave_out = shutil.ignore_patterns("__pycache__", compiled.LIBRARY.name)
    shutil.copytree(package, tmp_path / "flwr_byzantine", ignore=leave_out)
    return tmp_path


def test_without_a_library_numpy_serves_and_the_log_says_so_once(without_library):
    done = in_a_process(MEDIAN, without_library, FLWR_BYZANTINE_KERNELS="")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["[2.]", "[2.]", "[2.]", "numpy"]
    assert done.stderr.count("Install a C compiler") == 1
    told = in_a_process(
        "from flwr_byzantine.commands.cli import main; main(['doctor'])",
        without_library,
        FLWR_BYZANTINE_KERNELS="",
    )
    assert "note  numpy computes" in told.stdout
    assert "Install a C compiler" in told.stdout


@pytest.mark.parametrize("what", ["of another source", "no library"])
def test_a_library_that_does_not_fit_is_not_used(without_library, what):
    library = without_library / "flwr_byzantine" / "kernels" / compiled.LIBRARY.name
    if what == "no library":
        library.write_bytes(b"nonsense")
    elif not compiled.LIBRARY.exists():
        pytest.skip("no compiled library here")
    else:
        shutil.copy(compiled.LIBRARY, library)
        with library.with_name("kernels.c").open("a") as source:
            source.write("/* changed */\n")
    done = in_a_process(MEDIAN, without_library, FLWR_BYZANTINE_KERNELS="")
    assert done.stdout.split()[-1] == "numpy", done.stderr
    assert "Install this package again" in done.stderr


SUMS = (
    "from flwr_byzantine import rules\nfrom flwr_byzantine.kernels.compiled import choice\n"
    "import numpy as np\nprint(rules.Median()(np.array([[1.0], [np.nan], [4.0]])))\n"
    "print(choice().name)\nprint(float.fromhex('0x1p-1030') * 0.5 > 0)"
)


@pytest.mark.slow
@pytest.mark.skipif(not compiled.LIBRARY.exists(), reason="there was no compiler")
def test_flags_of_the_user_change_no_result(without_library):
    """They do not change the process either. If linked with -ffast-math, a library turns off tiny numbers."""
    repository = Path(__file__).resolve().parents[2]
    if not (repository / "setup.py").exists():
        pytest.skip("only the repository has setup.py")
    shutil.copy(repository / "setup.py", without_library)
    shutil.copy(repository / "pyproject.toml", without_library)
    for flags in ("-Ofast", "-ffast-math -g", "-ffinite-math-only"):
        command = [sys.executable, "setup.py", "-q", "build_ext", "--build-lib", "."]
        environment = {**os.environ, "CFLAGS": flags}
        subprocess.run(
            command, cwd=without_library, env=environment, check=True, capture_output=True
        )
        done = in_a_process(SUMS, without_library, FLWR_BYZANTINE_KERNELS="plain")
        assert done.stdout.split() == ["[4.]", "plain", "True"], done.stderr


def test_numpy_can_be_asked_for_and_is_silent():
    done = in_a_process(MEDIAN, FLWR_BYZANTINE_KERNELS="numpy")
    assert done.stdout.split()[-1] == "numpy"
    assert not done.stderr


@pytest.mark.parametrize("name", instruction_sets())
def test_an_instruction_set_can_be_asked_for(name):
    done = in_a_process(MEDIAN, FLWR_BYZANTINE_KERNELS=name)
    assert done.stdout.split()[-1] == name


def test_what_is_not_there_cannot_be_asked_for():
    done = in_a_process(MEDIAN, FLWR_BYZANTINE_KERNELS="avx1024")
    assert done.returncode != 0
    assert "Environment variable `FLWR_BYZANTINE_KERNELS` should be" in done.stderr


@pytest.mark.parametrize("variable", ["FLWR_BYZANTINE_KERNELS", "FLWR_BYZANTINE_NUM_THREADS"])
@pytest.mark.parametrize("module", ["flwr_byzantine", "flwr_byzantine.serverapp"])
def test_a_strategy_is_not_made_with_a_wrong_variable(variable, module):
    done = in_a_process(f"from {module} import Median; Median()", **{variable: "many"})
    assert done.returncode != 0
    assert f"Environment variable `{variable}` should be" in done.stderr


def test_where_there_is_a_library_it_serves():
    """Otherwise the tests of rules and strategies would not test the compiled kernels."""
    if os.environ.get(compiled.VARIABLE):
        pytest.skip("kernels were chosen")
    assert compiled.choice().name == (instruction_sets() or ["numpy"])[-1]
