"""Every Numba CUDA kernel compiles for real GPUs, on a machine that has none.

The simulator runs kernels as plain Python and accepts much that Numba's compiler refuses. Here the host functions
are called with kernels that do nothing, which records the types of the arguments of each launch. Then all kernels are
compiled for these types to PTX, the assembly language of a GPU, in a separate process.
"""

import ast
import functools
import inspect
import re
from importlib import import_module
from importlib.util import find_spec

import numba
import pytest
from support.mutants import cases
from support.numba_ptx import compile_all

from minisegnet_kernels import backends, registry

pytestmark = pytest.mark.skipif(find_spec("numba_cuda") is None, reason='no numba-cuda: pip install "numba-cuda[cu12]>=0.30,<0.31"')

PATHS = {name: registry._ROOT / name / registry.VIEWS["numba_cuda"] for name in registry.OPERATIONS}
OPERATIONS = [name for name, path in PATHS.items() if path.exists()]
each_operation = pytest.mark.parametrize("operation", OPERATIONS)


def module_of(operation):
    return f"minisegnet_kernels.{operation}.numba_cuda"


def launches(operation, dtype, each=12):
    """(module, kernel, signature) of what the host functions launch in `each` cases of every row of the table."""
    from minisegnet_kernels.cuda import jit

    seen = {}

    def listen(program, arguments):
        signature = tuple(_type_on_device(a) for a in arguments)
        seen[program.py_func.__module__, program.py_func.__name__, signature] = None

    with pytest.MonkeyPatch.context() as patch, backends.use("numba_cuda"):
        patch.setattr(type(jit.place), "__call__", lambda self, *arguments: None)
        patch.setattr(jit, "_listeners", [*jit._listeners, listen])
        for row, case in cases(operation, each):
            row(case.cast(dtype))
    return list(seen)


def _type_on_device(argument):
    """No array on a GPU is read-only."""
    found = numba.typeof(argument)
    return found.copy(readonly=False) if isinstance(found, numba.types.Array) else found


def compiled(requests):
    """The compiler's reports. One process answers all requests, because each takes a second to start."""
    results = compile_all(requests)
    missing = [r["error"] for r in results if "nvvm" in r.get("error", "").lower()]
    if missing:
        pytest.skip(f"no compiler for Numba's kernels ({missing[0][:200]}): pip install 'numba-cuda[cu12]>=0.30,<0.31'")
    return results


@functools.cache
def in_float32(operation):
    """Reports on all kernels of an operation in float32 for Hopper. (A fixture of the module would be made anew for each operation.)"""
    return compiled([(*launch, [(9, 0)]) for launch in launches(operation, "float32")])


def errors(results):
    return [
        f"{r['module']}.{r['name']}({', '.join(r['signature'])}) for {r['architecture']}: {r['error']}" for r in results if "error" in r
    ]


def works_in_float64(module, name):
    """Whether the source of a kernel, or of a function that it calls, names float64, and therefore uses it on purpose."""
    kernel = getattr(import_module(module), name).py_func
    called = [kernel.__globals__.get(used) for used in kernel.__code__.co_names]
    functions = [kernel, *(f.py_func for f in called if hasattr(f, "py_func"))]
    return any("float64" in inspect.getsource(f) for f in functions)


@each_operation
def test_every_kernel_compiles(operation):
    of_operation = [r for r in in_float32(operation) if r["module"] == module_of(operation)]
    assert errors(of_operation) == []
    decorated = {
        node.name
        for node in ast.parse(PATHS[operation].read_text()).body
        if isinstance(node, ast.FunctionDef) and any(getattr(d, "id", "") == "kernel" for d in node.decorator_list)
    }
    assert decorated == {r["name"] for r in of_operation}, "a kernel that no case launches is not checked"


@each_operation
def test_float32_stays_float32(operation):
    """A literal 0.0 or a division of integers would work in float64, which most GPUs do 32 to 64 times slower."""
    alone = [r for r in in_float32(operation) if "float64" not in str(r["signature"])]
    widened = {r["name"] for r in alone if ".f64" in r["ptx"] and not works_in_float64(r["module"], r["name"])}
    assert widened == set()


@each_operation
def test_no_array_lies_in_local_memory(operation):
    """An array that is indexed at run time cannot be kept in registers."""
    assert {r["name"] for r in in_float32(operation) if ".local" in r["ptx"]} == set()


@pytest.mark.parametrize("operation", ["optimiser"])
def test_arrays_of_a_table_of_addresses_are_read_as_global_memory(operation):
    """An address alone does not say which kind of memory it belongs to, and a load that has to find out is slower."""
    steps = [r["ptx"] for r in in_float32(operation) if r["module"] == module_of(operation)]
    assert steps
    for ptx in steps:
        assert "ld.global.f32" in ptx and "st.global.f32" in ptx
        assert re.search(r"\b(ld|st)\.f32", ptx) is None


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "architecture"), [("float32", (8, 0)), ("float64", (8, 0)), ("float64", (9, 0))], ids=str)
def test_every_kernel_compiles_in_other_ways(dtype, architecture):
    assert OPERATIONS
    assert errors(compiled([(*launch, [architecture]) for operation in OPERATIONS for launch in launches(operation, dtype)])) == []


def test_the_checks_see_a_kernel_that_does_not_compile_and_one_that_works_in_float64():
    vector = numba.types.Array(numba.float32, 1, "C")
    refused, wide = compiled([("support.numba_ptx", name, (vector,), [(9, 0)]) for name in ("refused_kernel", "wide_kernel")])
    assert errors([refused])[0].startswith("support.numba_ptx.refused_kernel(array(float32, 1d, C)) for [9, 0]: TypingError")
    assert ".f64" in wide["ptx"]
    assert not works_in_float64("support.numba_ptx", "wide_kernel")  # it does not say so
