"""Every CUDA C++ kernel compiles for real GPUs: no spills, no stack frame, and the committed table lists it."""

import json
from pathlib import Path

import pytest

pytest.importorskip("cuda.bindings.nvrtc", reason="NVRTC is not installed (pip install minisegnet[test])")

from minisegnet_kernels.cuda import nvrtc
from minisegnet_kernels.cuda.source import read

TABLE = Path(__file__).parents[2] / "docs" / "benchmarks" / "compiled.json"
FILES = nvrtc.files()
each_file = pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(nvrtc.ROOT)))


def compiled(path, architecture):
    try:
        return nvrtc.compile_file(read(path), architecture)
    except RuntimeError as error:
        if "nvrtc" in str(error).lower() and not isinstance(error, nvrtc.CompileError):
            pytest.skip(str(error))
        raise


@each_file
@pytest.mark.parametrize("architecture", ["sm_90", pytest.param("sm_80", marks=pytest.mark.slow)])
def test_every_instance_compiles_without_spills_and_stack(path, architecture):
    found = compiled(path, architecture)
    assert {c.kernel for c in found} == {k.expression(i) for k in read(path).kernels.values() for i in k.instances()}
    wasteful = [f"{c.kernel}: {c.stack} bytes of stack, {c.spills} of spills" for c in found if c.stack or c.spills]
    assert wasteful == []
    assert all(0 < c.registers <= 255 for c in found)


@each_file
def test_the_committed_table_lists_every_instance(path):
    table = json.loads(TABLE.read_text())["kernels"][str(path.relative_to(nvrtc.ROOT))]
    names = {k.expression(i) for k in read(path).kernels.values() for i in k.instances()}
    for architecture in nvrtc.ARCHITECTURES:
        assert {row["kernel"] for row in table if row["architecture"] == architecture} == names, (
            "run: python -m minisegnet_kernels.cuda.nvrtc --json"
        )
    assert not any(row["stack"] or row["spills"] for row in table)


def test_a_kernel_that_does_not_compile_is_named_with_the_compilers_words(tmp_path):
    path = tmp_path / "kernel.cu"
    path.write_text("__global__ void broken(int n) { n = undeclared; }\n")
    with pytest.raises(nvrtc.CompileError, match=r"(?s)kernel.cu.*undeclared"):
        compiled(path, "sm_90")


def test_an_array_indexed_at_run_time_is_found(tmp_path):
    path = tmp_path / "kernel.cu"
    body = "float a[500]; a[0] = x[0]; for (int k = 1; k < 500; ++k) a[k] = a[k - 1] * x[k] + 1; x[0] = a[n] + a[n + 1];"
    path.write_text(f"__global__ void indexed(float* x, int n) {{ {body} }}\n")
    (found,) = compiled(path, "sm_90")
    assert found.stack > 0
