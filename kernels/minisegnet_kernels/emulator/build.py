"""Compile a ``.cu`` file for the CPU, once for each version of its text, into the user's cache folder."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from ..cuda.source import TYPES, Kernel, Source, parse

HERE = Path(__file__).parent
#: The compiler options for the kernel's own file, in each flavour.
FLAVOURS = {
    "plain": ["-O1"],
    "watched": ["-O1", "-fsanitize=thread", "-DWATCHED"],
}
#: The compiler options for a program that replays launches: those for the kernel's file, then those for the emulator.
SANITIZERS = {
    "address": (["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"],) * 2,
    "thread": (["-fsanitize=thread", "-DSANITIZED_THREAD"], ["-DSANITIZED_THREAD"]),
}
COMMON = ["-std=c++20", "-g", "-fPIC", "-ffp-contract=off", "-Wall", "-Wno-unknown-pragmas", "-Wno-unused-variable", f"-I{HERE}"]


class CompilerError(RuntimeError):
    """No C++ compiler was found, or it rejects a kernel."""


@cache
def compiler() -> str:
    """Path of the C++ compiler: ``$CXX``, or the first of g++, clang++, c++.

    Raises
    ------
    CompilerError
        If no compiler is found.
    """
    for name in filter(None, (os.environ.get("CXX"), "g++", "clang++", "c++")):
        if found := shutil.which(name):
            return found
    raise CompilerError(
        "running .cu files on the CPU needs a C++20 compiler: apt install g++, dnf install gcc-c++, conda install gxx, or set CXX"
    )


def cache_folder() -> Path:
    """Where compiled kernels are kept: ``$MINISEGNET_CACHE``, or ``minisegnet`` in the user's cache folder."""
    named = os.environ.get("MINISEGNET_CACHE")
    return Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "minisegnet"


def library(source: Source, flavour: str) -> ctypes.CDLL:
    """The kernels of a file, compiled and loaded."""
    return _loaded(source.path, source.text, flavour)


@cache
def _loaded(path: Path, text: str, flavour: str) -> ctypes.CDLL:
    loaded = ctypes.CDLL(str(compiled(parse(path, text), flavour)))
    loaded.emulator_launch.restype = ctypes.c_char_p
    loaded.emulator_site.restype = ctypes.c_char_p
    if flavour == "watched":
        loaded.emulator_accesses.restype = ctypes.c_longlong
    return loaded


def compiled(source: Source, flavour: str) -> Path:
    """Path of the shared library with the kernels of a file."""
    options = [*COMMON, *FLAVOURS[flavour]]
    runtime = [object_file("emulator.cpp")] + ([object_file("watch.cpp")] if flavour == "watched" else [])
    return _linked(source, ".so", options, runtime, ["-shared"])


def program(source: Source, sanitizer: str) -> Path:
    """Path of a program that replays launches of a file under a sanitizer."""
    own, emulator = SANITIZERS[sanitizer]
    runtime = [object_file(name, emulator) for name in ("emulator.cpp", "replay.cpp")]
    return _linked(source, f"-{sanitizer}", [*COMMON, "-O1", *own], runtime, own[:1])


def _linked(source: Source, suffix: str, options: list[str], runtime: list[Path], link: list[str]) -> Path:
    stub = _stub(source)
    target = place(f"{source.path.parent.name}-{source.path.stem}", suffix, stub, *runtime, options)

    def build(folder: Path, result: Path) -> None:
        # The text may be a changed copy, which is compiled under the name of the original.
        (folder / "stub.cpp").write_text(stub)
        run_compiler([*options, "-c", str(folder / "stub.cpp"), "-o", str(folder / "stub.o")], source.path)
        run_compiler([*link, str(folder / "stub.o"), *map(str, runtime), "-o", str(result)], source.path)

    return built(target, build)


def instances(source: Source) -> list[tuple[Kernel, dict[str, str]]]:
    """All template instances of a file, in the order of the table of entry points."""
    return [(kernel, instance) for kernel in source.kernels.values() for instance in kernel.instances()]


def _stub(source: Source) -> str:
    """The kernel's text, and an entry point for each template instance that unpacks its arguments."""
    lines = ['#include "emulator.h"', f'#line 1 "{source.path.name}"\n{source.whole()}']
    table = []
    for number, (kernel, instance) in enumerate(instances(source)):
        names = "".join(
            f"using {name} = {value}; " if name in TYPES else f"constexpr auto {name} = {value}; " for name, value in instance.items()
        )
        arguments = ", ".join(f"*({p.type.removeprefix('const __grid_constant__ ')}*)a[{k}]" for k, p in enumerate(kernel.parameters))
        call = kernel.expression({name: name for name in instance})
        lines.append(f"__attribute__((no_sanitize_thread)) static void entry_{number}(void** a) {{ {names}{call}({arguments}); }}")
        table.append(f"entry_{number}")
    lines.append(f"extern void (*const kernels[])(void**);\nvoid (*const kernels[])(void**) = {{{', '.join(table)}}};")
    return "\n".join(lines) + "\n"


def object_file(name: str, more: Sequence[str] = ()) -> Path:
    """A part of the emulator itself, compiled without the kernel's instrumentation."""
    path, options = HERE / name, [*COMMON, "-O2", *more]
    headers = "".join((HERE / header).read_text() for header in ("cuda.h", "emulator.h", "fibers.h"))
    target = place(path.stem, ".o", path.read_text(), headers, options)
    return built(target, lambda folder, result: run_compiler([*options, "-c", str(path), "-o", str(result)], path))


def place(name: str, suffix: str, *parts: object) -> Path:
    version = subprocess.run([compiler(), "--version"], capture_output=True, text=True, check=False).stdout
    digest = hashlib.sha256("\0".join(map(str, (version, *parts))).encode()).hexdigest()[:20]
    return cache_folder() / "emulator" / f"{name}-{digest}{suffix}"


def built(target: Path, build: Callable[[Path, Path], object]) -> Path:
    """The file, built if it does not exist. It appears complete or not at all, even if two processes build it at once."""
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        result = Path(folder) / target.name
        build(Path(folder), result)
        os.replace(result, target)
    return target


def run_compiler(arguments: list[str], path: Path) -> None:
    done = subprocess.run([compiler(), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise CompilerError(f"{compiler()} refuses {path}:\n{done.stderr[:4000]}")
