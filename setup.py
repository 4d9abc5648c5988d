"""Compiles kernels.c at the installation, with any C compiler that it finds. The rest is in pyproject.toml.

The result is a plain shared library that fits every Python 3, so wheels are ``py3-none-<platform>``.
Without a compiler the installation works too, and numpy computes instead.

README.md becomes the long description. Its links are made absolute if pyproject.toml names the repository.
"""

import hashlib
import os
import platform
import re
import shlex
import subprocess
import sysconfig
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

SOURCE = "flwr_byzantine/kernels/kernels.c"
# No option here may let the compiler assume that values are finite, or reorder sums: see kernels.c.
FLAGS = ["-std=c11", "-O3", "-fPIC", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
AVX2 = ["-mavx2", "-mfma"]
AVX512 = [*AVX2, "-mavx512f", "-mavx512vl", "-mavx512bw", "-mavx512dq", "-mprefer-vector-width=512"]
# These are removed if CFLAGS or CC contains them. Some of them, used for linking, change the whole process.
UNSAFE = {
    "-Ofast",
    "-ffast-math",
    "-ffinite-math-only",
    "-funsafe-math-optimizations",
    "-fassociative-math",
    "-freciprocal-math",
    "-fno-signed-zeros",
}
X86 = platform.machine() in ("x86_64", "AMD64")
INSTRUCTION_SETS = {"plain": [], **({"avx2": AVX2, "avx512": AVX512} if X86 else {})}


def compilers() -> list[list[str]]:
    """The compilers to try. The one that the variable CC names comes first."""
    named = [os.environ.get("CC"), sysconfig.get_config_var("CC"), "cc", "gcc", "clang"]
    return [command for text in named if (command := shlex.split(text or ""))]


def compile_library(compiler: list[str], target: Path) -> None:
    """Compile the source once for each instruction set, and link. A set that fails to compile is left out.

    Raises
    ------
    OSError, subprocess.SubprocessError
        If not even the plain one compiles, or linking fails.
    """
    asked = [*compiler, *shlex.split(os.environ.get("CFLAGS", ""))]
    command_start = [option for option in asked if option not in UNSAFE]
    digest = hashlib.sha256(Path(SOURCE).read_bytes()).hexdigest()
    objects = []
    with TemporaryDirectory() as folder:
        for name, options in INSTRUCTION_SETS.items():
            made = str(Path(folder, f"{name}.o"))
            once = [f'-DSOURCE_DIGEST="{digest}"'] if name == "plain" else []
            command = [
                *command_start,
                *FLAGS,
                *options,
                f"-DISA={name}",
                *once,
                "-c",
                SOURCE,
                "-o",
                made,
            ]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode == 0:
                objects.append(made)
            elif name == "plain":
                raise subprocess.SubprocessError(done.stderr[-1000:])
        target.parent.mkdir(parents=True, exist_ok=True)
        linked = Path(folder, target.name)
        link = [*command_start, "-shared", *objects, "-o", str(linked), "-lm"]
        done = subprocess.run(link, capture_output=True, text=True)
        if done.returncode != 0:
            raise subprocess.SubprocessError(done.stderr[-1000:])
        # The library gets its name only when it is whole, because another process may load or build it now.
        whole = target.with_name(f"{target.name}.{os.getpid()}")
        whole.write_bytes(linked.read_bytes())
        whole.replace(target)


class BuildKernels(build_ext):
    """Compiles the library. If that fails, it prints why and goes on."""

    def get_ext_filename(self, fullname: str) -> str:
        """The name of the library, without Python's version, on which it does not depend."""
        return str(Path(*fullname.split("."))) + ".so"

    def build_extension(self, ext: Extension) -> None:
        """Try one compiler after the other."""
        target = Path(self.get_ext_fullpath(ext.name))
        problems = []
        for compiler in compilers():
            try:
                return compile_library(compiler, target)
            except (OSError, subprocess.SubprocessError) as error:
                problems.append(f"{shlex.join(compiler)}: {error}")
        print(
            "flwr-byzantine: no C compiler could build kernels.c, so numpy computes, several times slower."
        )
        print("\n".join(problems))
        target.unlink(missing_ok=True)


class Wheel(bdist_wheel):
    """A wheel for every Python 3 on this platform."""

    def get_tag(self) -> tuple[str, str, str]:
        """The tag of a wheel that fits every Python 3."""
        return "py3", "none", super().get_tag()[2]


def long_description() -> str:
    """README.md for a package index, which has none of the linked files, or "" if there is no README.md."""
    if not Path("README.md").exists():  # the Dockerfile does not copy it
        return ""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = Path("README.md").read_text(encoding="utf-8")
    return with_absolute_links(text, project["urls"].get("Repository"))


def with_absolute_links(text: str, repository: str | None) -> str:
    """Make links to files lead to the repository. Without a repository, they stay as they are."""
    if repository is None:
        return text

    def link(found: re.Match[str]) -> str:
        shown = "raw" if found[1] == "!" else "blob"  # for an image, the file itself, not its page
        return f"{found[1]}[{found[2]}]({repository.rstrip('/')}/{shown}/HEAD/{found[3]})"

    return re.sub(r"(!?)\[([^][]*)\]\((?!\w+:|#)([^()\s]+)\)", link, text)


setup(
    long_description=long_description(),
    long_description_content_type="text/markdown",
    ext_modules=[Extension("flwr_byzantine.kernels._kernels", [SOURCE], optional=True)],
    cmdclass={"build_ext": BuildKernels, "bdist_wheel": Wheel},
)
