"""Files of named tensors: round trips, and files that are refused."""

import json

import numpy as np
import pytest
import safetensors.numpy
from safetensors.numpy import load_file

from minisegnet import files, nn
from minisegnet.exchange.tensors import load, load_metadata, save
from minisegnet.tensor import Tensor


@pytest.fixture
def network():
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3))
    model[1].num_batches_tracked.array[...] = 7
    return model


def test_a_state_dict_comes_back_bit_by_bit(tmp_path, network):
    save(network.state_dict(), tmp_path / "a.safetensors", {"epoch": "3"})
    back = load(tmp_path / "a.safetensors")
    assert sorted(back) == sorted(network.state_dict())
    for name, value in network.state_dict().items():
        assert isinstance(back[name], Tensor)
        assert back[name].dtype == value.dtype and back[name].shape == value.shape, name
        np.testing.assert_array_equal(back[name].numpy(), value.numpy())
    assert load_metadata(tmp_path / "a.safetensors") == {"epoch": "3"}

    other = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3))
    assert other.load_state_dict(back) == ([], [])
    assert other[1].num_batches_tracked.item() == 7
    np.testing.assert_array_equal(other[0].weight.array, network[0].weight.array)


def test_a_module_can_be_saved_as_it_is(tmp_path, network):
    save(network, tmp_path / "a.safetensors")
    np.testing.assert_array_equal(load_file(tmp_path / "a.safetensors")["0.weight"], network[0].weight.array)
    assert load_metadata(tmp_path / "a.safetensors") == {}


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int64", "int32", "uint8", "bool"])
def test_every_dtype_and_memory_order(tmp_path, dtype):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    views = {"plain": array, "transposed": array.transpose(2, 0, 1), "strided": array[:, ::2], "scalar": array[0, 0, 1], "empty": array[:0]}
    save(views, tmp_path / "a.safetensors")
    back = load(tmp_path / "a.safetensors")
    for name, value in views.items():
        assert back[name].dtype == value.dtype and back[name].shape == value.shape
        np.testing.assert_array_equal(back[name].numpy(), value)


def test_what_is_loaded_can_be_written_to(tmp_path):
    save({"a": np.zeros(3)}, tmp_path / "a.safetensors")
    a = load(tmp_path / "a.safetensors")["a"]
    a.copy_(np.ones(3))
    assert a.tolist() == [1, 1, 1]


def test_files_are_exchanged_with_the_official_library_for_torch(tmp_path, network):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file as torch_load
    from safetensors.torch import save_file as torch_save

    twin = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3))
    save(network, tmp_path / "ours.safetensors")
    twin.load_state_dict(torch_load(tmp_path / "ours.safetensors"))
    np.testing.assert_array_equal(twin[0].weight.detach().numpy(), network[0].weight.array)

    with torch.no_grad():
        twin[0].bias += 1
    torch_save(twin.state_dict(), tmp_path / "theirs.safetensors")
    network.load_state_dict(load(tmp_path / "theirs.safetensors"))
    np.testing.assert_array_equal(twin[0].bias.detach().numpy(), network[0].bias.array)


def test_the_library_reads_every_dtype_and_writes_the_same_bytes(tmp_path):
    """With shapes without axes and without elements. (The library orders dtypes of one width in its own way, so those bytes are not compared.)"""
    rng = np.random.default_rng(0)
    names = ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
    arrays = {f"{shape} {name}": rng.integers(0, 2, shape).astype(name) for name in names for shape in ((3, 5), (), (0, 2))}
    save({**arrays, "big-endian": np.arange(5, dtype=">f4")}, tmp_path / "a.safetensors")
    read = load_file(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(read.pop("big-endian"), np.arange(5, dtype=np.float32))
    assert read.keys() == arrays.keys()
    for name, array in arrays.items():
        assert read[name].dtype == array.dtype and read[name].shape == array.shape
        np.testing.assert_array_equal(read[name], array)
    floats = {name: array for name, array in arrays.items() if name.endswith(("f2", "f4", "f8"))}
    save(floats, tmp_path / "b.safetensors", {"note": "é"})
    assert (tmp_path / "b.safetensors").read_bytes() == safetensors.numpy.save(floats, {"note": "é"})
    with pytest.raises(TypeError, match="'x' is of dtype"):
        save({"x": np.zeros(2, np.longdouble)}, tmp_path / "c.safetensors")


def test_a_failed_save_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    save({"a": np.zeros(3)}, path)

    def full_disk(source, target):
        raise OSError("no space left on device")

    monkeypatch.setattr(files.os, "replace", full_disk)
    with pytest.raises(OSError, match="no space"):
        save({"a": np.ones(3)}, path)
    assert load(path)["a"].tolist() == [0, 0, 0]
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.safetensors"):
        load(tmp_path / "none.safetensors")


@pytest.mark.parametrize("kept", [0, 5, 8, 40, -1])
def test_a_truncated_file(tmp_path, kept):
    path = tmp_path / "a.safetensors"
    save({"weight": np.ones((5, 5)), "bias": np.ones(5)}, path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"a\.safetensors.*(truncated|not a safetensors file)"):
        load(path)


def test_a_file_with_something_behind_it(tmp_path):
    path = tmp_path / "a.safetensors"
    save({"weight": np.ones((5, 5))}, path)
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(ValueError, match=r"damaged.*expected \d+ bytes, got \d+"):
        load(path)


def test_a_header_that_lies_about_a_shape(tmp_path):
    path = tmp_path / "a.safetensors"
    header = json.dumps({"a": {"dtype": "F32", "shape": [3, 3], "data_offsets": [0, 16]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(16))
    with pytest.raises(ValueError, match="damaged"):
        load(path)


@pytest.mark.parametrize(
    "content", [b"", b"hello, this is not a tensor file", b"\xff" * 100, b"\x02" + bytes(7) + b"[]", b"\x02" + bytes(7) + b"{]"]
)
def test_another_kind_of_file(tmp_path, content):
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match="not a safetensors file"):
        load(tmp_path / "a.safetensors")


@pytest.mark.parametrize("name", ["mine.pt", "mine.pth", "mine.npz"])
def test_no_file_is_written_under_the_ending_of_another_format(tmp_path, name):
    with pytest.raises(ValueError, match=r"writes safetensors.*mine\.safetensors"):
        save({"a": np.ones(2)}, tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("length", [640, 896, 1152, 1408])
def test_a_header_whose_length_looks_like_the_start_of_a_pickle(tmp_path, length):
    path = tmp_path / "a.safetensors"
    save({"a": np.ones(2)}, path, {"note": ""})
    short = int.from_bytes(path.read_bytes()[:8], "little")
    save({"a": np.ones(2)}, path, {"note": "x" * (length - short)})
    assert path.read_bytes()[:2] == length.to_bytes(2, "little")
    assert load(path)["a"].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("obj", "words"),
    [
        ({"a": "text"}, "'a' is of type str.*metadata"),
        ({"a": {"b": np.ones(2)}}, "'a' is of type dict.*nested"),
        ({"a": np.array(["x"])}, "'a' is of dtype"),
        ({3: np.ones(2)}, "names are strings"),
        ([np.ones(2)], "mapping"),
    ],
)
def test_what_cannot_be_saved(tmp_path, obj, words):
    with pytest.raises(TypeError, match=words):
        save(obj, tmp_path / "a.safetensors")
    assert not list(tmp_path.iterdir())


def test_metadata_is_text(tmp_path):
    with pytest.raises(TypeError, match=r"'epoch' is 3.*str\(\)"):
        save({"a": np.ones(2)}, tmp_path / "a.safetensors", {"epoch": 3})


def by_hand(path, dtype, content, shape=(4,)):
    header = json.dumps({"a": {"dtype": dtype, "shape": shape, "data_offsets": [0, len(content)]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + content)
    return path


def test_bfloat16_becomes_float32(tmp_path):
    bits = np.array([0x3F80, 0xC040, 0x7F80, 0x0001], "<u2")  # 1, −3, ∞ and the smallest subnormal number
    found = load(by_hand(tmp_path / "a.safetensors", "BF16", bits.tobytes(), (2, 2)))["a"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found.array, np.array([[1, -3], [np.inf, 2.0**-133]], np.float32))


@pytest.mark.parametrize("dtype", ["F8_E4M3", "F8_E5M2"])
def test_a_dtype_that_numpy_lacks_is_named(tmp_path, dtype):
    with pytest.raises(ValueError, match=rf"a\.safetensors: 'a' is in {dtype}"):
        load(by_hand(tmp_path / "a.safetensors", dtype, bytes(4)))
