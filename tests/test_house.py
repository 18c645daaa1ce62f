"""The house: who may import whom, no circle, one form of import, and tests that lie where their subject lies.

Every import statement counts: those inside functions and those for type checkers too.

``python tests/test_house.py [CHECKOUT]`` prints the house: its size, its circles, and its rooms from the ground up.
"""

import ast
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.quick
ROOT = Path(__file__).parents[1]
PACKAGES = {"minisegnet_kernels": ROOT / "kernels/minisegnet_kernels", "minisegnet": ROOT / "minisegnet"}

#: The plan, from the ground up: a room imports from lines above its own, and from nothing on its own line.
#: ``operations`` are all folders with a ``formula.py``; they may use each other. The last but one is each package's front door.
KERNELS = """
registry modes checks layout process threads
jit
arrays cost simd components
cuda
emulator
backends
operations
minisegnet_kernels
"""
LIBRARY = """
version values files random hooks recording options
backend doctor progress
tensor
functional
nn optim
data metrics trace
models losses
exchange viz
inference
diagnostics training
learn
minisegnet
bench
cli
__main__
"""
#: Folders of ``tests/`` that are not named like a room, and what they test.
MIRROR = {
    "kernels": "kernels/minisegnet_kernels",
    "cuda": "kernels/minisegnet_kernels/cuda",
    "nullgpu": "kernels/minisegnet_kernels/cuda",
    "engine": "minisegnet/tensor.py",
    "docs": "docs",
    "trust": "SECURITY.md",
}
HELPERS = {"operations", "support"}


# --- what imports what ----------------------------------------------------------------------------------


def _modules(packages: Iterable[Path]) -> dict[str, Path]:
    found = {}
    for folder in packages:
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder.parent).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def _imports(name: str, modules: dict[str, Path]) -> Iterator[tuple[ast.stmt, str]]:
    """The statements of a module that import from the two packages, and the module that each reads from."""
    path = modules[name]
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            if source in modules:
                for alias in node.names:
                    submodule = f"{source}.{alias.name}"
                    yield node, submodule if submodule in modules else source


def _graph(modules: dict[str, Path]) -> dict[str, list[str]]:
    return {name: sorted({target for _, target in _imports(name, modules)} - {name}) for name in modules}


MODULES = _modules(PACKAGES.values())
GRAPH = _graph(MODULES)


def circles(graph: dict[str, list[str]]) -> list[list[str]]:
    """The groups of modules that reach each other (Tarjan's strongly connected components, those with two members or more)."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(name: str) -> None:
        number[name] = lowest[name] = len(number)
        stack.append(name)
        for target in graph[name]:
            if target not in number:
                visit(target)
            if target in stack:
                lowest[name] = min(lowest[name], lowest[target])
        if lowest[name] == number[name]:
            members = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(members) > 1:
                found.append(sorted(members))

    for name in graph:
        if name not in number:
            visit(name)
    return found


def test_circles_are_found():
    assert circles({"a": ["b"], "b": ["c"], "c": ["d"], "d": ["b"], "e": ["a", "f"], "f": []}) == [["b", "c", "d"]]
    assert circles({"a": ["b", "c"], "b": ["c"], "c": []}) == []


def test_there_is_no_circle():
    found = circles(GRAPH)
    assert not found, "\n".join(" <-> ".join(members) for members in found)


# --- the plan -------------------------------------------------------------------------------------------


def _rooms(name: str, packages: dict[str, Path] = PACKAGES) -> tuple[str, str]:
    """The package and the room of a module; the front door of a package is a room of the package's name."""
    package, _, rest = name.partition(".")
    room = rest.partition(".")[0] or package
    return package, "operations" if (packages[package] / room / "formula.py").exists() else room


def _floors(plan: str) -> dict[str, int]:
    lines = plan.strip().splitlines()
    return {room: floor for floor, line in enumerate(lines) for room in line.split()}


FLOORS = {"minisegnet_kernels": _floors(KERNELS), "minisegnet": _floors(LIBRARY)}


def test_every_import_follows_the_plan():
    for package, floors in FLOORS.items():
        assert {_rooms(name)[1] for name in MODULES if name.partition(".")[0] == package} == set(floors), (
            "a room that the plan does not name"
        )
    against = set()
    for name, targets in GRAPH.items():
        package, room = _rooms(name)
        for target in targets:
            of, upper = _rooms(target)
            if (of, upper) == (package, room):
                continue
            climbs = FLOORS[of][upper] >= FLOORS[package][room] if of == package else package == "minisegnet_kernels"
            if climbs:
                against.add((".".join(name.split(".")[:2]), ".".join(target.split(".")[:2])))
    assert not against, f"a room imports from its own floor or from above: {sorted(against)}"


def test_imports_are_relative_inside_a_package_and_absolute_between_the_two():
    wrong = []
    for name, path in MODULES.items():
        for node, target in _imports(name, MODULES):
            relative = isinstance(node, ast.ImportFrom) and node.level > 0
            if relative != (target.partition(".")[0] == name.partition(".")[0]):
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert not wrong, wrong


# --- files and tests ------------------------------------------------------------------------------------


def test_no_file_is_longer_than_400_lines():
    length = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES.values()}
    assert {name: lines for name, lines in length.items() if lines > 400} == {}, "a file is one room: divide it"


def test_a_folder_of_tests_is_named_like_what_it_tests():
    folders = {path.parent.relative_to(ROOT / "tests").parts[0] for path in (ROOT / "tests").glob("*/**/*.py")} - HELPERS
    rooms = {_rooms(name)[1] for name in MODULES}
    assert folders - MIRROR.keys() <= rooms, f"no room has the name of {sorted(folders - MIRROR.keys() - rooms)}"
    for folder, subject in MIRROR.items():
        assert (ROOT / subject).exists(), f"tests/{folder} tests {subject}, which does not exist"


def test_every_folder_of_the_library_has_a_folder_of_tests():
    rooms = {path.parent.name for path in PACKAGES["minisegnet"].glob("*/__init__.py")} - {"functional"}  # in tests/engine
    untested = {room for room in rooms if not list((ROOT / "tests" / room).glob("test_*.py"))}
    assert not untested


def _sources(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_no_test_module_imports_another():
    tests = sorted((ROOT / "tests").rglob("test_*.py"))
    stems = {path.stem for path in tests}
    found = {(str(path.relative_to(ROOT)), name) for path in tests for name in _sources(path) if name.rpartition(".")[2] in stems}
    assert not found, f"what two share goes to tests/support: {sorted(found)}"


# --- the picture ------------------------------------------------------------------------------------------


def picture(checkout: Path) -> str:
    """Size, circles and floors of a checkout. A room stands one floor above the highest room that it imports from."""
    packages = {package: checkout / folder.relative_to(ROOT) for package, folder in PACKAGES.items()}
    modules = _modules(packages.values())
    graph = _graph(modules)
    home = {name: "/".join(_rooms(name, packages)) for name in modules}
    rooms: dict[str, list[str]] = {room: [] for room in home.values()}
    for name, targets in graph.items():
        rooms[home[name]] += {home[target] for target in targets} - {home[name]} - set(rooms[home[name]])
    found, circling = circles(graph), circles(rooms)
    lines = [
        f"{p.relative_to(checkout)}: {sum(len(path.read_text().splitlines()) for path in p.rglob('*.py'))} lines of Python"
        for p in packages.values()
    ]
    lines.append(f"{len(modules)} modules, {sum(map(len, graph.values()))} imports; circles of modules: {len(found)}")
    lines += ["  " + " <-> ".join(members) for members in found]
    lines.append(f"{len(rooms)} rooms, {sum(map(len, rooms.values()))} arrows between them; circles of rooms: {len(circling)}")
    lines += ["  " + " <-> ".join(members) for members in circling]
    return "\n".join([*lines, "floors, from the ground up:", *("  " + "  ".join(sorted(floor)) for floor in _storeys(rooms, circling))])


def _storeys(rooms: dict[str, list[str]], circling: list[list[str]]) -> list[list[str]]:
    together = {room: members for members in circling for room in members}
    floor: dict[str, int] = {}
    while len(floor) < len(rooms):
        for room in rooms.keys() - floor.keys():
            members = together.get(room, [room])
            below = {target for member in members for target in rooms[member]} - set(members)
            if below <= floor.keys():
                floor.update(dict.fromkeys(members, 1 + max((floor[target] for target in below), default=-1)))
    return [[room for room in rooms if floor[room] == level] for level in range(max(floor.values()) + 1)]


def test_the_picture_shows_circles_and_floors(tmp_path):
    files = {
        "kernels/minisegnet_kernels/__init__.py": "",
        "kernels/minisegnet_kernels/ground.py": "",
        "kernels/minisegnet_kernels/op/__init__.py": "",
        "kernels/minisegnet_kernels/op/formula.py": "from ..ground import a",
        "minisegnet/__init__.py": "from . import upper",
        "minisegnet/left.py": "from minisegnet_kernels import ground\nfrom .right import b",
        "minisegnet/right.py": "def late():\n    from .left import c",
        "minisegnet/upper.py": "from . import right\nfrom minisegnet_kernels.op import formula",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert picture(tmp_path).splitlines() == [
        "kernels/minisegnet_kernels: 1 lines of Python",
        "minisegnet: 7 lines of Python",
        "8 modules, 7 imports; circles of modules: 1",
        "  minisegnet.left <-> minisegnet.right",
        "7 rooms, 7 arrows between them; circles of rooms: 1",
        "  minisegnet/left <-> minisegnet/right",
        "floors, from the ground up:",
        "  minisegnet_kernels/ground  minisegnet_kernels/minisegnet_kernels",
        "  minisegnet/left  minisegnet/right  minisegnet_kernels/operations",
        "  minisegnet/upper",
        "  minisegnet/minisegnet",
    ]


if __name__ == "__main__":
    print(picture(Path(*sys.argv[1:2] or [ROOT]).resolve()))
