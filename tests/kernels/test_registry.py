"""The name is the mapping: equations, views, signatures and symbols agree."""

import ast
import builtins
import inspect
import re
import textwrap

import pytest
from operations import TABLE

from minisegnet.learn.formulas import formula
from minisegnet_kernels import registry
from minisegnet_kernels.cuda.source import read

pytestmark = pytest.mark.quick

EQUATIONS = registry.equations()
each_equation = pytest.mark.parametrize("equation", EQUATIONS, ids=lambda e: e.id)


def test_every_folder_of_an_operation_is_in_the_list():
    assert sorted(registry.OPERATIONS) == sorted(path.parent.name for path in registry._ROOT.glob("*/formula.py"))


def test_the_table_of_operations_has_every_equation():
    assert sorted(o.equation for o in TABLE) == sorted(e.id for e in EQUATIONS)


@each_equation
def test_every_view_exists_or_has_a_written_reason(equation):
    for view in registry.VIEWS:
        if equation.source(view) is None:
            assert equation.missing.get(view), f"{equation.id} has no {view} view and no reason"


@each_equation
def test_signatures_of_the_views_are_equal(equation):
    expected = str(inspect.signature(equation.oracle))
    for view in ("numpy", "numba", "numba_cuda", "cuda"):
        if view not in equation.missing:
            assert str(inspect.signature(equation.program(view))) == expected, view


#: What a host side has besides the programs of its equations: the rule of the ladder, and a pass that other operations use.
OFFERED = {
    ("conv2d", "kernel.py"): {"by_rule", "choose", "why_not"},
    ("batch_norm", "kernel.py"): {"moments"},
}


@pytest.mark.parametrize("operation", registry.OPERATIONS)
def test_public_functions_of_a_view_are_equations(operation):
    names = {e.name for e in registry.equations(operation)}
    for file in ("reference.py", "numba_cpu.py", "numba_cuda.py", "kernel.py"):
        path = registry._ROOT / operation / file
        public = {n.name for n in ast.parse(path.read_text()).body if isinstance(n, ast.FunctionDef) and not n.name.startswith("_")}
        public -= OFFERED.get((operation, file), set())
        assert public <= names, f"{path.name} of {operation}: {public - names} is not an equation"


@pytest.mark.parametrize("operation", registry.OPERATIONS)
def test_kernels_are_named_after_equations(operation):
    """``operation_equation``, or ``operation_equation__part`` for a pass or a rung."""
    names = {f"{operation}_{e.name}" for e in registry.equations(operation)}
    for path in (registry._ROOT / operation).glob("**/*.cu"):
        for kernel in read(path).kernels:
            assert kernel.partition("__")[0] in names, f"{path.name}: {kernel} is not an equation"


@each_equation
def test_gradients_name_what_they_differentiate(equation):
    assert (equation.grad_of is None) == (equation.wrt is None)
    if equation.grad_of:
        whole = registry.get(equation.grad_of)
        assert set(equation.wrt.split(", ")) <= set(inspect.signature(whole.oracle).parameters)


@each_equation
def test_names_in_the_loops_are_names_of_the_formula(equation):
    """A name in the loops is a symbol of the formula: ``x`` is x and ``sh`` is s_h. tests/learn/test_formulas.py compares their values."""
    names = formula(equation.id).names() | equation.symbols.keys()
    texts = " ".join(equation.symbols.values())
    sizes = set(re.findall(r"\b[A-Z]\b", texts)) | {name.upper() for name in names if len(name) == 1}  # u runs to U
    known = {name.replace("_", "") for name in names | sizes}
    unexplained = {name for name in _code_names(equation) if name.replace("_", "") not in known}
    assert not unexplained, f"in the loops of {equation.id}, not in its formula: {sorted(unexplained)}"


@pytest.mark.parametrize("view", registry.VIEWS)
@pytest.mark.parametrize("equation", [e for e in EQUATIONS if e.grad_of], ids=lambda e: e.id)
def test_the_gradient_of_x_is_never_called_x(equation, view):
    """A gradient is written to ``xbar``; in CUDA C++, where arguments declare what is written, ``Array<const T, 4>`` is only read."""
    source = equation.source(view)
    if view == "cuda":
        written = set(re.findall(r"Array<(?!const )\w+, \d+>&? (\w+)", source.text))
    else:
        targets = [t for node in ast.walk(ast.parse(source.text)) for t in _targets(node)]
        written = {t.id for t in targets if isinstance(t, ast.Name)}
    assert not written & set(equation.wrt.split(", "))


def _targets(node: ast.AST) -> list[ast.expr]:
    """What a statement assigns to; of ``x[i] = ...`` the array."""
    found = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AugAssign) else []
    found = [t for target in found for t in (target.elts if isinstance(target, ast.Tuple) else [target])]
    return [t.value if isinstance(t, ast.Subscript) else t for t in found]


def _code_names(equation) -> set[str]:
    """Names that the loops use, without builtins, options, imports and helpers of the file."""
    function = _loops(equation)
    options = {a.arg for a in function.args.kwonlyargs}
    names = {n.id for n in ast.walk(function) if isinstance(n, ast.Name)} | {a.arg for a in function.args.args}
    outside = set(vars(builtins)) | set(inspect.getmodule(equation.oracle).__dict__) | {"_"}
    return {n for n in names if n not in options and n not in outside}


def _loops(equation) -> ast.FunctionDef:
    function = ast.parse(textwrap.dedent(inspect.getsource(equation.oracle))).body[0]
    assert isinstance(function, ast.FunctionDef)
    function.decorator_list = []
    return function
