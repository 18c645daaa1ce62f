"""Every CUDA C++ kernel compiles for the GPUs that people have: no spills, no stack frame, and the committed table lists it.

The profile ci compiles for one architecture. For all of them it compares the fingerprints of the sources with those of the table, so
that a table of older code is found; `pytest -m slow` compiles them all again.
"""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

pytest.importorskip("cuda.bindings.nvrtc", reason="NVRTC is not installed (pip install cuda-bindings nvidia-cuda-nvrtc-cu12)")

from minisegnet_kernels.conv2d.ladder import RUNGS
from minisegnet_kernels.cuda import gpu, nvrtc
from minisegnet_kernels.cuda.source import parse, read

TABLE = json.loads((Path(__file__).parents[2] / "docs" / "benchmarks" / "compiled.json").read_text())
FILES = nvrtc.files()
AGAIN = "run: python -m minisegnet_kernels.cuda.nvrtc --json docs/benchmarks/compiled.json"
each_file = pytest.mark.parametrize("path", FILES, ids=nvrtc.name_of)


def compiled(source, architecture):
    try:
        return nvrtc.compile_file(source, architecture)
    except ImportError as error:
        pytest.skip(str(error))


@each_file
@pytest.mark.parametrize(
    "architecture", [a if a == "sm_90" else pytest.param(a, marks=pytest.mark.slow) for a in nvrtc.ARCHITECTURES], ids=str
)
def test_every_instance_compiles_as_the_committed_table_says(path, architecture):
    if architecture not in nvrtc.architectures(read(path)):
        with pytest.raises(nvrtc.CompileError, match=r"requires \.target"):
            compiled(read(path), architecture)
        return
    found = compiled(read(path), architecture)
    assert {c.kernel for c in found} == instances(path)
    wasteful = [f"{c.kernel}: {c.stack} bytes of stack, {c.spills} of spills" for c in found if c.stack or c.spills]
    assert wasteful == []
    assert all(0 < c.registers <= 255 for c in found)
    if nvrtc._version() == TABLE["nvrtc"]:
        assert [asdict(c) for c in found] == [
            r for r in TABLE["kernels"][nvrtc.name_of(path)]["instances"] if r["architecture"] == architecture
        ]


def instances(path):
    return {k.expression(i) for k in read(path).kernels.values() for i in k.instances()}


@each_file
def test_the_committed_table_is_of_this_code_and_lists_every_instance_for_every_gpu_that_runs_it(path):
    entry = TABLE["kernels"][nvrtc.name_of(path)]
    assert entry["fingerprint"] == nvrtc.fingerprint(read(path)), AGAIN
    by_architecture = {a: {row["kernel"] for row in entry["instances"] if row["architecture"] == a} for a in nvrtc.ARCHITECTURES}
    assert by_architecture == {a: instances(path) if a in nvrtc.architectures(read(path)) else set() for a in nvrtc.ARCHITECTURES}
    assert not any(row["stack"] or row["spills"] for row in entry["instances"])


def test_the_committed_table_has_no_file_that_is_gone():
    assert sorted(TABLE["kernels"]) == sorted(map(nvrtc.name_of, FILES)), AGAIN


@pytest.mark.parametrize("rung", RUNGS, ids=lambda r: f"{r.label}-{r.name}-{r.equation}")
def test_a_rung_says_which_gpus_have_its_instructions(rung):
    assert rung.capability == nvrtc.least_capability(rung.module.source)


def test_the_options_are_those_of_a_run(monkeypatch):
    """CuPy assembles the options of a module; the test reads what CuPy passes to its compiler."""
    cupy_compiler = pytest.importorskip("cupy.cuda.compiler", reason="CuPy is not installed")
    given = []

    class Caught(Exception):
        pass

    def catch(source, options, *rest, **more):
        given.extend(options)
        raise Caught

    monkeypatch.setattr(cupy_compiler, "_empty_file_preprocess_cache", {})
    monkeypatch.setattr(cupy_compiler, "_get_arch_for_options_for_nvrtc", lambda arch: (f"-arch=sm_{arch}", "cubin"))
    monkeypatch.setattr(cupy_compiler, "_preprocess", catch)
    with pytest.raises(Caught):
        cupy_compiler._compile_with_cache_cuda("", gpu.OPTIONS, "90", "", name_expressions=("f",))
    assert [o for o in given if not o.startswith("-I")] == [*gpu.OPTIONS, nvrtc._ADDED]


def test_the_fingerprint_changes_with_the_code_and_not_with_its_comments(tmp_path):
    def of(text):
        return nvrtc.fingerprint(parse(tmp_path / "kernel.cu", text))

    kernel = "__global__ void f(float* x, int n) { x[n] = 1; }\n"
    assert of(kernel) == of(f"// a comment\n{kernel}\n") == of(kernel.replace("{ ", "{\n    "))
    assert of(kernel) != of(kernel.replace("1", "2"))
    templated = "// N = {}\ntemplate <int N>\n__global__ void f(float* x) {{ x[N] = 1; }}\n"
    assert of(templated.format("1, 2")) != of(templated.format("1, 2, 3"))


def test_what_is_compiled_already_is_taken_from_the_table(monkeypatch):
    path = FILES[0]
    known = {
        "nvrtc": nvrtc._version(),
        "kernels": {nvrtc.name_of(path): {"fingerprint": nvrtc.fingerprint(read(path)), "instances": ["as it was"]}},
    }
    assert nvrtc.table([path], known) == known
    monkeypatch.setattr(nvrtc, "architectures", lambda source: ["sm_90"])  # which is another fingerprint
    monkeypatch.setattr(nvrtc, "compile_file", lambda source, architecture: [])
    assert nvrtc.table([path], known)["kernels"][nvrtc.name_of(path)]["instances"] == []
    older = {**known, "nvrtc": "11.0"}
    assert nvrtc.table([path], older)["kernels"][nvrtc.name_of(path)]["instances"] == []


def test_a_kernel_that_does_not_compile_is_named_with_the_compilers_words(tmp_path):
    path = tmp_path / "kernel.cu"
    path.write_text("__global__ void broken(int n) { n = undeclared; }\n")
    with pytest.raises(nvrtc.CompileError, match=r"(?s)kernel.cu.*undeclared"):
        compiled(read(path), "sm_90")


def test_an_array_indexed_at_run_time_is_found(tmp_path):
    path = tmp_path / "kernel.cu"
    body = "float a[500]; a[0] = x[0]; for (int k = 1; k < 500; ++k) a[k] = a[k - 1] * x[k] + 1; x[0] = a[n] + a[n + 1];"
    path.write_text(f"__global__ void indexed(float* x, int n) {{ {body} }}\n")
    (found,) = compiled(read(path), "sm_90")
    assert found.stack > 0


def test_the_name_of_an_architecture_is_its_compute_capability():
    assert [nvrtc.capability(a) for a in ("sm_75", "sm_90", "sm_120")] == [(7, 5), (9, 0), (12, 0)]
    with pytest.raises(ValueError, match=r"no architecture '7\.5': write sm_"):
        nvrtc.capability("7.5")


def test_the_module_without_the_library_is_not_nvrtc(monkeypatch):
    """As numba-cuda leaves it: the module is there, and its first call finds no library. A caller without NVRTC goes on without it."""
    from cuda.bindings import nvrtc as module

    from minisegnet.bench import about

    def missing():
        raise RuntimeError('Failure finding "libnvrtc.so.12"')

    monkeypatch.setattr(module, "nvrtcVersion", missing)
    path = nvrtc.ROOT / "activation" / "kernel.cu"
    with pytest.raises(ImportError, match="NVRTC is not installed: pip install"):
        nvrtc.compile_file(read(path), "sm_90")
    assert about.compiled(path, ["activation_relu<float>"]) == []
