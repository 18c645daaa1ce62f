"""Files are written completely or not at all."""

import os
import subprocess
import sys

import numpy as np
import pytest

from minisegnet.exchange.tensors import save
from minisegnet.files import replaced, write_atomically


def test_a_file_is_there_whole_or_not_at_all(tmp_path):
    path = tmp_path / "deep" / "er" / "file.bin"
    assert write_atomically(path, lambda stream: stream.write(b"first")) == path

    def interrupted(stream):
        stream.write(b"sec")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, interrupted)
    assert path.read_bytes() == b"first" and os.listdir(path.parent) == ["file.bin"]


@pytest.mark.skipif(os.name == "nt", reason="an open file cannot be replaced there")
def test_whoever_has_the_old_file_open_keeps_it(tmp_path):
    write_atomically(tmp_path / "f", lambda stream: stream.write(b"old"))
    with (tmp_path / "f").open("rb") as reader:
        write_atomically(tmp_path / "f", lambda stream: stream.write(b"new"))
        assert reader.read() == b"old"
    assert (tmp_path / "f").read_bytes() == b"new"


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_a_written_file_has_the_usual_permissions(tmp_path):
    (tmp_path / "plain").write_text("x")
    write_atomically(tmp_path / "ours", lambda stream: None)
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_file_of_a_foreign_program_has_the_usual_permissions_too(tmp_path):
    (tmp_path / "plain").write_text("x")
    with replaced(tmp_path / "ours") as temporary:
        temporary.chmod(0o600)
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_tensors_are_saved_to_new_folders_and_refused_by_name(tmp_path):
    save({"a": np.zeros(3)}, tmp_path / "new" / "a.safetensors")
    assert os.listdir(tmp_path / "new") == ["a.safetensors"]
    with pytest.raises(OSError, match=r"cannot write .*new: it is a folder"):
        save({"a": np.zeros(3)}, tmp_path / "new")
    with pytest.raises(OSError, match=r"cannot write .*b\.safetensors: the folder .*a\.safetensors cannot be made"):
        save({"a": np.zeros(3)}, tmp_path / "new" / "a.safetensors" / "b.safetensors")


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files")
def test_a_full_disk_is_an_error_and_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.safetensors"
    save({"a": np.zeros(3)}, path)
    before = path.read_bytes()
    code = (
        "import resource, sys, numpy as np; from minisegnet.exchange.tensors import save\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try: save({'a': np.zeros(10000)}, sys.argv[1])\n"
        "except OSError as error: print(error)"
    )
    said = subprocess.run([sys.executable, "-c", code, path], check=True, capture_output=True, text=True).stdout
    assert "File too large" in said and str(path) in said
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["a.safetensors"]
