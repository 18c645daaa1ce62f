"""What is read from a ``.cu`` file: its constants, which no host side repeats."""

import re
from pathlib import Path

import pytest

from minisegnet_kernels import registry
from minisegnet_kernels.cuda import Module, nvrtc
from minisegnet_kernels.cuda.source import parse

EVERY = [path for path in nvrtc.files() if "constexpr int" in path.read_text()]


def test_constants_are_numbers_and_what_follows_from_them(tmp_path):
    (tmp_path / "shared.cuh").write_text("#pragma once\nconstexpr int FOUR = 4;\n")
    text = '#include "shared.cuh"\n// constexpr int GONE = 1;\nconstexpr int ROWS = 8, COLUMNS = ROWS * FOUR;  // of a tile\nconstexpr int HALF = (ROWS + 1) / 2 - 1;\n'
    assert parse(tmp_path / "a.cu", text).constants == {"FOUR": 4, "ROWS": 8, "COLUMNS": 32, "HALF": 3}


def test_a_constant_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"must be a sum or product of numbers and earlier constants, not sizeof\(float\)"):
        assert parse(tmp_path / "a.cu", "constexpr int BYTES = sizeof(float);\n").constants


def test_a_constant_that_does_not_exist_is_an_error_that_lists_those_that_do(tmp_path):
    path = tmp_path / "a.cu"
    path.write_text("constexpr int ROWS = 8;\n")
    assert Module(path).constant("ROWS") == 8
    with pytest.raises(KeyError, match=r"a\.cu has no constexpr int TILE; it has ROWS"):
        Module(path).constant("TILE")


@pytest.mark.parametrize("path", EVERY, ids=lambda p: p.name)
def test_every_constant_of_the_library_is_read(path):
    declared = re.findall(r"^constexpr int (\w+)", path.read_text(), re.M)
    assert set(declared) <= set(Module(path).source.constants)


def test_no_host_side_repeats_a_number_of_its_file():
    """Copies of a number had this comment."""
    hosts = [path for path in Path(registry.__file__).parent.glob("*/**/*.py") if path.name != "numba_cuda.py"]
    assert [path.name for path in hosts if re.search(r"as in (the file|kernel\.cu)", path.read_text())] == []
