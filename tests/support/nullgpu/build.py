"""Compile the null GPU's libraries with the host's compiler, once for each version of their text, into the user's cache folder."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path

from minisegnet_kernels.emulator.build import cache_folder

HERE = Path(__file__).parent


def driver() -> Path:
    """``libcuda.so.1``."""
    return _compiled("libcuda.so.1", (HERE / "driver.c").read_text(), ["-ldl"])


def cublas() -> Path:
    """``libcublas.so.12``, or 13, with every symbol that CuPy's module needs. Functions that are not in `cublas.c` are not supported."""
    name, wanted = _cublas_of_cupy()
    written = (HERE / "cublas.c").read_text()
    names = sorted(set(re.findall(r"\b(cublas\w+)@", wanted)) - set(re.findall(r"^int (cublas\w+)\(", written, re.M)))
    missing = "".join(f"int {name}(void) {{ return NOT_SUPPORTED; }}\n" for name in names)
    return _compiled(name, written + missing, [], f"{name} {{ global: cublas*; local: *; }};")


def cublas_lt() -> Path:
    """``libcublasLt.so.12``, or 13: CuPy has to find it, but calls nothing in it."""
    name, _ = _cublas_of_cupy()
    return _compiled(name.replace("cublas", "cublasLt"), "int cublasLtGetVersion(void) { return 120900; }\n", [])


def _cublas_of_cupy() -> tuple[str, str]:
    """The name of cuBLAS that CuPy's module asks for, which is another one for CUDA 12 and 13, and its undefined symbols."""
    spec = find_spec("cupy_backends.cuda.libs")
    assert spec is not None and spec.submodule_search_locations
    (module,) = Path(spec.submodule_search_locations[0]).glob("cublas.*.so")
    wanted = subprocess.run(["nm", "-D", "--undefined-only", str(module)], capture_output=True, text=True, check=True).stdout
    versions = sorted(set(re.findall(r"libcublas\.so\.\d+", wanted)))
    assert len(versions) == 1, f"{module.name} asks for {versions}"
    return versions[0], wanted


def _compiled(name: str, text: str, libraries: list[str], versions: str = "") -> Path:
    compiler = os.environ.get("CC", "gcc")
    digest = hashlib.sha256(f"{text}{versions}{compiler}".encode()).hexdigest()[:20]
    target = cache_folder() / "nullgpu" / digest / name
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        source, script, made = Path(folder) / "source.c", Path(folder) / "versions", Path(folder) / name
        source.write_text(text)
        script.write_text(versions)
        command = [compiler, "-O2", "-shared", "-fPIC", "-w", f"-Wl,-soname,{name}", str(source), "-o", str(made), *libraries]
        subprocess.run([*command, *([f"-Wl,--version-script={script}"] if versions else [])], check=True)
        os.replace(made, target)
    return target
