"""Planted faults (`support.faults`): the tests must reject every one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support import faults

SHARDS = 8


def test_every_fault_can_be_planted():
    """Each stands in its file once, changes it, and is still a program; no fault is listed twice."""
    for fault in faults.FAULTS:
        text = (faults.ROOT / fault.file).read_text(encoding="utf-8")
        assert text.count(fault.old) == 1, f"{fault.file}: {fault.old!r} occurs {text.count(fault.old)} times"
        changed = text.replace(fault.old, fault.new)
        assert changed != text
        compile(changed, fault.file, "exec")
    assert len(set(faults.FAULTS)) == len(faults.FAULTS) >= 150
    assert faults.TESTS.keys() == {fault.kind for fault in faults.FAULTS}
    for file, _, test in {name.partition("::") for names in faults.TESTS.values() for name in names}:
        assert f"def {test}" in (faults.ROOT / file).read_text(encoding="utf-8"), (file, test)


@pytest.mark.slow
@pytest.mark.parametrize("shard", range(SHARDS))
def test_every_fault_is_rejected(shard):
    pytest.importorskip("torch", reason="without the peers some faults would pass")
    script = Path(faults.__file__)
    done = subprocess.run([sys.executable, script, str(shard), str(SHARDS)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["kinds"] and found["survivors"] == []
