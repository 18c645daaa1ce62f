"""Run tests in a separate process: the null GPU changes a whole process, and other tests must not see it.

`Process` belongs to the ordinary pytest. `serve` runs in the other process, which is a pytest too: it collects the
same tests and runs those that the first one names, one by one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from typing import Any

import pytest

#: An environment variable of the other process: compute capability and number of devices.
VARIABLE = "MINISEGNET_NULLGPU"


class Process:
    """A pytest process with a null GPU.

    Parameters
    ----------
    config : pytest.Config
        The configuration of the pytest that starts it, for the profile and the root folder.
    folder : str
        The folder of the tests.
    capability, count : int
        Compute capability of the null GPU, and number of devices.
    """

    def __init__(self, config: pytest.Config, folder: str, capability: int, count: int):
        self._config = config
        asked, self._ask = os.pipe()
        self._answers, answer = os.pipe()
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "NUMBA_ENABLE_CUDASIM"))}
        environment |= {VARIABLE: f"{capability},{count},{asked},{answer}"}
        options = ["-q", "-m", "nullgpu", "--profile", config.option.profile, "-p", "no:cacheprovider", "-p", "no:xdist"]
        self._process = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", "-m", "pytest", *options, folder],
            cwd=config.rootpath,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self._printed,
            stderr=subprocess.STDOUT,
            pass_fds=(asked, answer),
        )
        os.close(asked)
        os.close(answer)
        self._reader = os.fdopen(self._answers, "rb")

    def run(self, item: pytest.Item, next_item: pytest.Item | None) -> list[Any]:
        """The reports on one test: of its setup, its call, its teardown."""
        os.write(self._ask, json.dumps([item.nodeid, next_item.nodeid if next_item else None]).encode() + b"\n")
        answer = self._reader.readline()
        if not answer:
            self._process.wait()
            self._printed.seek(0)
            text = self._printed.read().decode(errors="replace")[-6000:]
            raise RuntimeError(f"the process with the null GPU ended with {self._process.returncode}:\n{text}")
        return [self._config.hook.pytest_report_from_serializable(config=self._config, data=data) for data in json.loads(answer)]

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def close(self) -> None:
        """End the process, when there are no more tests."""
        os.close(self._ask)
        self._process.wait(60)


def serve(session: pytest.Session) -> None:
    """Run the tests that the other side names, until it has no more."""
    *_, asked, answer = map(int, os.environ[VARIABLE].split(","))
    items = {item.nodeid: item for item in session.items}
    reports: list[Any] = []

    class Collector:
        def pytest_runtest_logreport(self, report):
            reports.append(session.config.hook.pytest_report_to_serializable(config=session.config, report=report))

    session.config.pluginmanager.register(Collector())
    with os.fdopen(asked) as lines, os.fdopen(answer, "w") as answers:
        for line in lines:
            name, following = json.loads(line)
            reports.clear()
            session.config.hook.pytest_runtest_protocol(item=items[name], nextitem=items.get(following))
            print(json.dumps(reports), file=answers, flush=True)
