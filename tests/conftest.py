"""Profiles, and what every test starts from.

========  =============================================================  ===========================
profile   tests                                                          drawn cases
========  =============================================================  ===========================
quick     those marked ``quick``: what runs if nothing is selected       a few, the same in each run
ci        all but those marked ``slow``                                  more, the same in each run
thorough  all: planted faults, training to the end, every kernel         many, new ones in each run
gpu       those marked ``gpu``                                           a few; one that fails is not made smaller
========  =============================================================  ===========================

``--profile NAME`` selects a profile. Without it, a run with files, ``-k`` or ``-m`` on its command line runs the tests
that these select, except slow ones, with the cases of ci. Any other run is quick.
"""

import os
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

# As many threads as cores, but at least two, so that tests of threads mean something on one core, too.
os.environ.setdefault("NUMBA_NUM_THREADS", str(max(os.cpu_count() or 1, 2)))
THREADS = int(os.environ["NUMBA_NUM_THREADS"])
# Processes that run side by side share the cores.
SHARE = max(THREADS // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1)), 1)
if SHARE < THREADS:
    os.environ.setdefault("OMP_NUM_THREADS", str(SHARE))  # PyTorch, and NumPy's products of matrices

ROOT = Path(__file__).parents[1]
#: Which tests, and how Hypothesis draws their cases.
PROFILES = {
    "quick": ("quick and not slow", {"max_examples": 6, "derandomize": True}),
    "ci": ("not slow", {"max_examples": 30, "derandomize": True}),
    "thorough": ("", {"max_examples": 500}),
    "gpu": ("gpu", {"max_examples": 8, "derandomize": True, "phases": [Phase.generate]}),
}
LEFT_OUT = pytest.StashKey[Counter]()

pytest.register_assert_rewrite("operations", "support")  # before anything imports them
from support import score  # noqa: E402

for name, (_, drawing) in PROFILES.items():
    settings.register_profile(
        name, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], **drawing
    )


# --- profiles -----------------------------------------------------------------------------------------


def pytest_addoption(parser):
    parser.addoption(
        "--profile", choices=PROFILES, help="the tests to run, and the number of cases of each; see the head of tests/conftest.py"
    )


def pytest_configure(config):
    # Processes that tests start import the code that is tested here, whatever is installed.
    os.environ["PYTHONPATH"] = os.pathsep.join(map(str, config.getini("pythonpath")))
    option = config.option
    if option.profile is None:
        selected = option.markexpr or option.keyword or config.args_source is config.ArgsSource.ARGS
        option.profile = "ci" if selected else "quick"
    tests, _ = PROFILES[option.profile]
    option.markexpr = option.markexpr or tests
    settings.load_profile(option.profile)


def pytest_deselected(items):
    if items:
        items[0].config.stash.setdefault(LEFT_OUT, Counter()).update(item.path.relative_to(ROOT / "tests").parts[0] for item in items)


def pytest_sessionfinish(session):
    if hasattr(session.config, "workeroutput"):  # a worker of xdist
        session.config.workeroutput["left_out"] = dict(session.config.stash.get(LEFT_OUT, {}))
        session.config.workeroutput["score"] = score.handed_on()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    if hasattr(node, "workeroutput"):  # every worker leaves out the same tests
        node.config.stash[LEFT_OUT] = Counter(node.workeroutput["left_out"])
        score.merge(node.workeroutput["score"])


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter, config):
    """The table of planted faults, and what this profile left out."""
    if table := score.table():
        terminalreporter.write_line(f"\n{table}")
    left_out = config.stash.get(LEFT_OUT, {})
    if left_out and config.option.markexpr == PROFILES["quick"][0]:
        folders = ", ".join(f"{name} {count}" for name, count in sorted(left_out.items()))
        terminalreporter.section("the quick profile")
        terminalreporter.write_line(f"{sum(left_out.values())} tests were left out: {folders}.")
        terminalreporter.write_line("All of them but the slow ones: python -m pytest -n auto --profile ci")
        terminalreporter.write_line("Everything, with new random cases: python -m pytest -n auto --profile thorough")


# --- processes and threads ----------------------------------------------------------------------------


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """``-n auto``: a process takes up to 2 GB."""
    return min(os.cpu_count() or 1, 4)


#: Where a single test takes long.
LONG = ("tests/training/", "tests/learn/test_tutorials", "tests/nullgpu/", "tests/cuda/test_on_gpu", "tests/engine/test_opinfo")


def operation_of(nodeid: str) -> str | None:
    """The operation whose kernels a test uses, if the name of the test contains it."""
    from minisegnet_kernels import registry

    found = re.search(rf"(?:/test_|[\[-])({'|'.join(registry.OPERATIONS)})(?![a-z])", nodeid)
    return found and found.group(1)


def pytest_collection_modifyitems(items):
    """Long tests come first: if a process began one last, the others would have to wait for it."""
    items.sort(key=lambda item: 0 if item.nodeid.startswith(LONG) else 1 if operation_of(item.nodeid) else 2)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Tests of one operation run in one process, which compiles its kernels once; other tests go file by file."""
    from xdist.scheduler import LoadScopeScheduling

    class ByOperation(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return operation_of(nodeid) or nodeid.partition("::")[0]

    config.option.loadscopereorder = False  # they stay in the order of collection
    return ByOperation(config, log)


@pytest.fixture(autouse=True)
def share_of_threads():
    """A test may change the number of threads; the next test starts with its share again."""
    import numba

    numba.set_num_threads(SHARE)


# --- what every test starts from ----------------------------------------------------------------------


@pytest.fixture(autouse=True)
def default_backend():
    """The default backend; float32 means float32, unless a test asks for TF32."""
    from minisegnet_kernels import backends
    from minisegnet_kernels.conv2d.ladder import allow_tf32

    with backends.use(None), allow_tf32(False):
        yield
