"""Runs the tests of the kernels on a library that stops at wrong addresses and undefined behaviour.

``python tests/helpers/sanitized.py`` compiles kernels.c with the sanitizers of gcc or clang into a copy of
the package, and runs the tests there.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SANITIZERS = "-fsanitize=address,undefined -fno-sanitize-recover=all -g"
TESTS = (  # tests that reach the kernels by every path
    "kernels",
    "rules/test_rules.py",
    "rules/test_own_rules.py",
    "rules/test_rules_torch.py",
)


def main() -> int:
    """Compile and test. Return pytest's exit code."""
    compiler = os.environ.get("CC", "gcc")
    # The sanitizer looks for libstdc++ only at the start. torch is loaded later, and throws C++ exceptions.
    runtime = " ".join(_found(compiler, name) for name in ("libasan.so", "libstdc++.so.6"))
    with tempfile.TemporaryDirectory(prefix="sanitized-") as folder:
        skip = shutil.ignore_patterns("__pycache__", "_kernels.so")
        # The tests are beside the copy, because pytest puts their folder first on the path.
        tests = Path(folder) / "tests"
        for source, target in (
            ("flwr_byzantine", Path(folder) / "flwr_byzantine"),
            ("tests", tests),
        ):
            shutil.copytree(REPOSITORY / source, target, ignore=skip)
        path = os.pathsep.join([folder, str(tests / "helpers")])
        environment = {**os.environ, "CC": compiler, "CFLAGS": SANITIZERS, "PYTHONPATH": path}
        build = [sys.executable, "setup.py", "-q", "build_ext", "--build-lib", folder]
        subprocess.run(
            [*build, "--build-temp", folder], cwd=REPOSITORY, env=environment, check=True
        )
        library = subprocess.run(
            [sys.executable, "-c", "from flwr_byzantine.kernels import compiled; print(compiled.LIBRARY)"],
            cwd=folder, env=environment, capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip
        assert Path(library).is_relative_to(folder), library
        assert Path(library).exists(), "nothing was compiled"
        environment |= {
            "LD_PRELOAD": runtime,  # Python itself is not compiled with it
            "ASAN_OPTIONS": f"detect_leaks=0:log_path={folder}/found",  # the leaks are Python's own
        }
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--rootdir",
            tests,
        ]
        options = ["-m", "not slow", "-W", "ignore::pytest.PytestUnknownMarkWarning"]
        chosen = [tests / part for part in TESTS]
        code = subprocess.run([*command, *options, *chosen], cwd=tests, env=environment).returncode
        for report in Path(folder).glob("found.*"):
            print(report.read_text())
        return code


def _found(compiler: str, library: str) -> str:
    """The path of a library of the compiler."""
    asked = [compiler, f"-print-file-name={library}"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
