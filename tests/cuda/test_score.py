"""The table of planted faults is complete when several processes planted them."""

from collections import Counter
from types import SimpleNamespace

import pytest
from support import score


@pytest.fixture
def conftest(pytestconfig):
    return pytestconfig.pluginmanager.getplugin(str(pytestconfig.rootpath / "tests" / "conftest.py"))


@pytest.fixture
def new_process(monkeypatch):
    """Start with an empty score, as a new process does."""

    def empty():
        monkeypatch.setattr(score, "_scores", {})
        monkeypatch.setattr(score, "_reached", {})

    empty()
    return empty


def worker(conftest, new_process, work):
    """What xdist receives from a worker in which `work` ran."""
    execnet = pytest.importorskip("execnet")
    new_process()
    work()
    config = SimpleNamespace(workeroutput={}, stash={conftest.LEFT_OUT: Counter()})
    conftest.pytest_sessionfinish(SimpleNamespace(config=config))
    return execnet.loads(execnet.dumps(config.workeroutput))


def test_the_scores_of_all_workers_are_in_the_table(conftest, new_process):
    def first():
        score.count("pool2d", "checks", 9, 9, 0)
        score.reach("common.cuh", "i < size", False)

    def second():
        score.count("pool2d", "barriers and waits", 2, 3, 1)
        score.count("conv2d", "checks", 7, 8, 1)
        score.reach("common.cuh", "i < size", True)
        score.reach("common.cuh", "j < size", False)

    outputs = [worker(conftest, new_process, work) for work in (first, second)]
    new_process()
    assert score.table() == ""
    for output in outputs:
        conftest.pytest_testnodedown(SimpleNamespace(workeroutput=output, config=SimpleNamespace(stash={})))
    assert score.table().splitlines() == [
        "| operation or rung | barriers and waits | checks |",
        "| --- | --- | --- |",
        "| conv2d | – | 7/8 (1 equivalent) |",
        "| pool2d | 2/3 (1 equivalent) | 9/9 |",
        "| all | 2/3 (1 equivalent) | 16/17 (1 equivalent) |",
    ]
    assert score.unreached(["conv2d", "pool2d"]) == [("common.cuh", "j < size")]
    assert score.unreached(["conv2d", "pool2d", "label"]) is None
