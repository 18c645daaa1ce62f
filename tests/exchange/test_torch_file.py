"""Files of torch.save and numpy.savez are read without PyTorch, and nothing in them is ever run.

The archives are assembled here, instruction by instruction, so that they need no PyTorch and can be
wrong in every way; where PyTorch is installed, it writes some too.
"""

import io
import os
import pickle
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minisegnet.exchange import checkpoint
from minisegnet.exchange.tensors import load, load_metadata

# --- an assembler of pickles -------------------------------------------------------------


def name(module, attribute):
    return b"c" + module.encode() + b"\n" + attribute.encode() + b"\n"


def text(value):
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value):
    return b"J" + struct.pack("<i", value) if -(2**31) <= value < 2**31 else b"\x8a\x09" + value.to_bytes(9, "little", signed=True)


def tuple_of(*values):
    return b"(" + b"".join(values) + b"t"


def dict_of(**values):
    return b"}(" + b"".join(text(key) + value for key, value in values.items()) + b"u"


ORDERED_DICT = name("collections", "OrderedDict") + b")R"


def storage(key="0", kind="FloatStorage", count=6):
    return tuple_of(text("storage"), name("torch", kind), text(key), text("cpu"), number(count)) + b"Q"


def tensor(size, stride, offset=0, of=None):
    shape = [tuple_of(*map(number, numbers)) for numbers in (size, stride)]
    arguments = tuple_of(storage() if of is None else of, number(offset), *shape, b"\x89", ORDERED_DICT)
    return name("torch._utils", "_rebuild_tensor_v2") + arguments + b"R"


SIX = np.arange(6, dtype="<f4")
PROGRAM = dict_of(
    epoch=number(3),
    state_dict=dict_of(w=tensor((2, 3), (3, 1)), b=tensor((3,), (2,), 1), n=tensor((), (), 0, storage("1", "LongStorage", 1))),
)


def archive(path, program, storages=None, byteorder=b"little", compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("a/data.pkl", b"\x80\x02" + program + b".")
        file.writestr("a/byteorder", byteorder)
        for key, values in ({"0": SIX} if storages is None else storages).items():
            file.writestr(f"a/data/{key}", np.asarray(values).tobytes())
        file.writestr("a/version", b"3\n")
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.pth"


# --- what is read ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "stride", "offset", "expected"),
    [
        ((2, 3), (3, 1), 0, [[0, 1, 2], [3, 4, 5]]),
        ((3, 2), (1, 3), 0, [[0, 3], [1, 4], [2, 5]]),
        ((2, 2), (3, 2), 1, [[1, 3], [4, 6]]),
        ((2,), (2,), 3, [3, 5]),
        ((), (), 5, 5),
        ((2, 3), (0, 1), 2, [[2, 3, 4], [2, 3, 4]]),
        ((0, 3), (3, 1), 6, np.zeros((0, 3))),
    ],
)
def test_shapes_strides_and_offsets(path, size, stride, offset, expected):
    values = np.arange(7, dtype="<f4")
    archive(path, dict_of(w=tensor(size, stride, offset, storage(count=7))), {"0": values})
    found = load(path)["w"]
    assert found.dtype == np.float32
    assert found.array.flags.writeable
    np.testing.assert_array_equal(found.array, np.asarray(expected, np.float32))
    assert found.shape == size


@pytest.mark.parametrize("byteorder", ["little", "big"])
@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ("DoubleStorage", "f8"),
        ("FloatStorage", "f4"),
        ("HalfStorage", "f2"),
        ("LongStorage", "i8"),
        ("IntStorage", "i4"),
        ("ShortStorage", "i2"),
        ("CharStorage", "i1"),
        ("ByteStorage", "u1"),
        ("BoolStorage", "?"),
    ],
)
def test_every_dtype_in_both_orders_of_bytes(path, kind, dtype, byteorder):
    values = np.array([0, 1, 1, 100 if dtype != "?" else 0]).astype(dtype)
    stored = values.astype(values.dtype.newbyteorder(">" if byteorder == "big" else "<"))
    archive(path, dict_of(w=tensor((4,), (1,), 0, storage(kind=kind, count=4))), {"0": stored}, byteorder.encode())
    found = load(path)["w"]
    assert found.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(found.array, values)


def test_bfloat16_becomes_float32(path):
    bits = np.array([0x3F80, 0xC040, 0x7F80, 0x0001], "<u2")  # 1, −3, ∞ and the smallest subnormal number
    archive(path, dict_of(w=tensor((4,), (1,), 0, storage(kind="BFloat16Storage", count=4))), {"0": bits})
    found = load(path)["w"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found.array, np.array([1, -3, np.inf, 2.0**-133], np.float32))


def test_tensors_that_share_a_storage_have_memory_of_their_own(path):
    whole = tensor((2, 3), (3, 1))
    archive(path, dict_of(a=whole, b=whole, c=tensor((3,), (1,), 3)))
    found = load(path)
    found["a"].array[...] = 9
    assert found["b"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert found["c"].tolist() == [3, 4, 5]


def test_parameters_ordered_dicts_and_metadata(path):
    """state_dict() returns an OrderedDict with an attribute; this one also contains a Parameter."""
    parameter = name("torch._utils", "_rebuild_parameter") + tuple_of(tensor((6,), (1,)), b"\x88", ORDERED_DICT) + b"R"
    metadata = dict_of(_metadata=ORDERED_DICT)
    archive(path, ORDERED_DICT + b"(" + text("w") + parameter + b"u" + metadata + b"b")
    assert load(path)["w"].tolist() == [0, 1, 2, 3, 4, 5]


def test_where_the_weights_are(path):
    weights = dict_of(w=tensor((6,), (1,)))
    archive(path, dict_of(epoch=number(3), state_dict=weights, optimizer=dict_of(lr=number(1))))
    assert list(load(path)) == ["w"]
    archive(path, dict_of(w=tensor((6,), (1,)), epoch=number(3)))
    assert list(load(path)) == ["w"]

    archive(path, dict_of(teacher=weights, student=dict_of(v=tensor((3,), (2,)))))
    with pytest.raises(ValueError, match=r"those of 'teacher' or 'student'.*key=.*'teacher' \(a dict of 1\), 'student'"):
        load(path)
    assert load(path, key="student")["v"].tolist() == [0, 2, 4]
    with pytest.raises(ValueError, match="no entry 'x'; there are 'teacher'"):
        load(path, key="x")

    archive(path, dict_of(model=weights, net=weights))
    with pytest.raises(ValueError, match="could be those of 'model' or 'net'"):
        load(path)


@pytest.mark.parametrize("program", [number(3), tensor((6,), (1,)), b"](" + tensor((6,), (1,)) + b"e", dict_of(), dict_of(a=number(1))])
def test_a_file_without_tensors_by_name(path, program):
    with pytest.raises(ValueError, match=r"model\.pth: (expected tensors by name|which weights)"):
        load(archive(path, program))


def test_a_file_of_another_program_is_not_taken_for_a_checkpoint(path):
    archive(path, dict_of(w=tensor((6,), (1,))))
    assert load_metadata(path) == {}
    with pytest.raises(ValueError, match=r"not a checkpoint of minisegnet.*ms\.load"):
        checkpoint.read(path)


def test_what_pytorch_writes(path):
    torch = pytest.importorskip("torch")
    base = torch.arange(24.0).reshape(2, 3, 4)
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    kinds = [torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool]
    given = {
        **{str(dtype): base.to(dtype) for dtype in kinds},
        **{"permuted": base.permute(2, 0, 1), "strided": base[:, ::2, 1:], "scalar": base[1, 2, 3], "empty": base[:0]},
        **{"expanded": torch.ones(1).expand(3, 4), "parameter": torch.nn.Parameter(base)},
        **network.state_dict(),
    }
    training = {"epoch": 3, "lr": 0.1, "best": None, "optimizer": torch.optim.Adam(network.parameters()).state_dict()}
    torch.save({"state_dict": given, **training}, path)
    found = load(path)
    assert list(found) == list(given)
    for key, value in given.items():
        value = value.detach().float() if value.dtype == torch.bfloat16 else value.detach()
        assert found[key].dtype == value.numpy().dtype, key
        np.testing.assert_array_equal(found[key].array, value.numpy())

    torch.save(network.state_dict(), path, pickle_protocol=4)  # other instructions: FRAME, MEMOIZE, STACK_GLOBAL
    assert list(load(path)) == list(network.state_dict())


# --- what is refused ---------------------------------------------------------------------


class Malicious:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize(
    ("function", "arguments"),
    [(os.mkdir, ["{}"]), (os.system, ["mkdir {}"]), (eval, ["__import__('os').mkdir('{}')"]), (exec, ["import os; os.mkdir('{}')"])],
)
def test_code_in_a_pickle_is_not_run(tmp_path, path, function, arguments, protocol):
    trap = tmp_path / "trap"
    program = pickle.dumps({"w": Malicious(function, *(a.format(trap) for a in arguments))}, protocol)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a/data.pkl", program)
    with pytest.raises(ValueError, match=r"model\.pth: pickle, byte \d+"):
        load(path)
    assert not trap.exists()
    pickle.loads(program)
    assert trap.exists(), "Python's own pickle does not run the trap, so the test would show nothing"


FLOATS = name("torch", "FloatStorage")
REBUILD = name("torch._utils", "_rebuild_tensor_v2")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (name("os", "system"), r"GLOBAL: the file asks for os\.system"),
        (text("os") + text("system") + b"\x93", r"STACK_GLOBAL: the file asks for os\.system"),
        (number(1) + text("system") + b"\x93", "two strings"),
        (b"cos\nsystem\n(S'x'\ntR", r"os\.system"),
        (b"(S'x'\nios\nsystem\n", "STRING: this instruction"),
        (b"(ios\nsystem\n", "INST: this instruction"),
        (b"(" + FLOATS + b"o", "OBJ: this instruction"),
        (b"\x82\x01", "EXT1: this instruction"),
        (b"\x8b\x02\x00\x00\x00ab", "LONG4: this instruction"),
        (b"I12\n", "INT: this instruction"),
        (b"2", "DUP: this instruction"),
        (FLOATS + b")R", r"calls the name torch\.FloatStorage, which is not a function"),
        (text("os.system") + b")R", "calls an object of type str"),
        (REBUILD + b"]R", "calls the name"),
        (REBUILD + b")R", "REDUCE: it does not fit"),
        (REBUILD + tuple_of(number(1), number(0), b")", b")") + b"R", "a tensor without a storage"),
        (name("torch._utils", "_rebuild_parameter") + tuple_of(text("w")) + b"R", "a parameter without a tensor"),
        (name("collections", "OrderedDict") + tuple_of(b"](" + text("a") + b"e") + b"R", "item by item"),
        (name("builtins", "eval"), r"builtins\.eval"),
        (name("subprocess", "Popen"), "whoever unpickles this file runs foreign code"),
        (text("x") + b"Q", "reference to a storage"),
        (tuple_of(text("module"), FLOATS, text("0"), text("cpu"), number(6)) + b"Q", "reference to a storage"),
        (tuple_of(text("storage"), text("f4"), text("0"), text("cpu"), number(6)) + b"Q", "not a reference to a storage"),
        (tuple_of(text("storage"), REBUILD, text("0"), text("cpu"), number(6)) + b"Q", "not a reference to a storage"),
        (tuple_of(text("storage"), FLOATS, text("0"), text("cpu"), b"\x88") + b"Q", "not a reference to a storage"),
        (storage("../0"), r"storage '\.\./0' is not in the archive"),
        (storage(count=5), "5 × float32 do not have the 24 bytes"),
        (storage(count=2**40), "do not have the 24 bytes"),
        (storage(kind="ComplexFloatStorage"), r"torch\.ComplexFloatStorage"),
        (storage(kind="QInt8Storage"), r"torch\.QInt8Storage"),
        (storage() + storage(kind="IntStorage"), "storage '0' is 6 × float32 at one place and 6 × int32 at another"),
        (tensor((7,), (1,)), "reaches element 6 of a storage with 6"),
        (tensor((2, 3), (4, 1)), "reaches element 6"),
        (tensor((1,), (1,), 6), "reaches element 6"),
        (tensor((3,), (-1,), 2), "do not make a tensor"),
        (tensor((3,), (1,), -1), "do not make a tensor"),
        (tensor((-3,), (1,)), "do not make a tensor"),
        (tensor((3, 1), (1,)), "do not make a tensor"),
        (tensor((1,) * 65, (1,) * 65), "do not make a tensor"),
        (b"}(" + text("a") + b"u", "a key without a value"),
        (b"]" + text("a") + number(1) + b"s", "expected a dict"),
        (b"}" + number(1) + b"a", "expected a list"),
        (b"}]b", "expected attributes"),
        (b"]}b", "BUILD: expected a dict"),
        (b"h\x07", "nothing was remembered under the number 7"),
        (b"j\xff\xff\xff\x7f", "nothing was remembered"),
        (b"u", "no mark"),
        (b"R", "calls an object of type dict"),
        (b"(\x86", "nothing on the stack"),
        (b"(", "nothing on the stack"),
        (number(1) + number(2), "3 objects are left|expected a dict"),
    ],
)
def test_a_pickle_that_is_not_of_tensors(path, value, words):
    with pytest.raises(ValueError, match=rf"model\.pth: pickle, byte \d+, .*({words})") as error:
        load(archive(path, b"}" + text("w") + value + b"s"))
    assert type(error.value) is ValueError


def test_truth_values_are_0_or_1(path):
    with pytest.raises(ValueError, match="neither 0 nor 1"):
        load(archive(path, dict_of(w=tensor((2,), (1,), 0, storage(kind="BoolStorage", count=2))), {"0": np.array([1, 7], np.uint8)}))


def test_a_pickle_that_is_larger_than_any_index(path):
    with pytest.raises(ValueError, match=r"data\.pkl has 9,000,00\d bytes, more than"):
        load(archive(path, b"]" * 9_000_000))


def test_remembered_lists_make_no_bomb(path):
    """Each list contains the one before it ten times: 10^30 elements for a program that visits them all."""
    program = b"]q\x00"
    for level in range(1, 31):
        program += b"](" + 10 * (b"h" + bytes([level - 1])) + b"eq" + bytes([level])
    with pytest.raises(ValueError, match=r"expected tensors by name|left on the stack"):
        load(archive(path, program))
    archive(path, b"}q\x00" + text("self") + b"h\x00s" + text("w") + tensor((6,), (1,)) + b"s")
    assert list(load(path)) == ["w"]


@pytest.mark.parametrize(
    ("compression", "words"), [(zipfile.ZIP_DEFLATED, "compressed, which torch.save never does"), (zipfile.ZIP_BZIP2, "compressed")]
)
def test_compressed_entries_are_refused(path, compression, words):
    with pytest.raises(ValueError, match=words):
        load(archive(path, dict_of(w=tensor((6,), (1,))), {"0": SIX, "1": np.zeros(10**6)}, compression=compression))


def test_an_entry_cannot_be_larger_than_the_file(path):
    """The archive's directory and the pickle both claim a gigabyte; the reader does not allocate it."""
    archive(path, dict_of(w=tensor((2**28,), (1,), 0, storage(count=2**28))))
    content = bytearray(path.read_bytes())
    place = content.rindex(b"a/data/0") - 46  # the start of its entry in the directory
    struct.pack_into("<II", content, place + 20, 2**30, 2**30)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"1,073,\d{3},\d{3} bytes in a file of"):
        load(path)


def test_a_duplicate_name_is_refused(path):
    archive(path, dict_of(w=tensor((6,), (1,))))
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as file:
        file.writestr("a/data/0", (SIX + 1).tobytes())
    with pytest.raises(ValueError, match="'a/data/0' occurs twice"):
        load(path)


def test_files_of_other_kinds_say_what_they_are(path):
    path.write_bytes(pickle.dumps({"a": 1}, 2))
    with pytest.raises(ValueError, match=r"a pickle, but not one of torch\.save: it begins with an object of type dict"):
        load(path)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("m/data.pkl", b"")
        file.writestr("m/code/__torch__.py", "class M: pass", zipfile.ZIP_DEFLATED)
        file.writestr("m/constants.pkl", b"")
    with pytest.raises(ValueError, match=r'TorchScript.*torch\.jit\.load\("model\.pth", map_location="cpu"\)\.state_dict\(\)'):
        load(path)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("word/document.xml", "x")
    with pytest.raises(ValueError, match=r"not one of torch\.save.*word/document\.xml"):
        load(path)


@pytest.mark.parametrize("size", [(2**40, 2**40), (2**62 - 1,)])
def test_tensors_that_are_larger_than_their_storage_do_not_exhaust_the_memory(path, size):
    archive(path, dict_of(w=tensor(size, (0,) * len(size))))
    with pytest.raises(ValueError, match="eight times as large as the file"):
        load(path)


# --- what lies beside the weights ---------------------------------------------------------

NAMESPACE = name("argparse", "Namespace") + b")\x81" + dict_of(lr=number(1), data=text("x")) + b"b"


@pytest.mark.parametrize(
    "beside",
    [
        *(number(2), NAMESPACE, name("torch", "float32"), name("torch", "device") + tuple_of(text("cpu")) + b"R"),
        name("numpy.core.multiarray", "scalar") + tuple_of(name("numpy", "dtype") + tuple_of(text("f8")) + b"R", text("x")) + b"R",
        b"\x8f(" + number(1) + number(2) + b"\x90",
        name("__builtin__", "set") + tuple_of(b"](" + number(1) + b"e") + b"R",
        b"}" + tuple_of(number(1)) + number(2) + b"s",
        b"}" + number(2**63) + number(2) + b"s",
        name("their.module", "Settings") + b")\x81(" + text("a") + number(1) + b"u",
        name("their.module", "Steps") + b")\x81(" + number(1) + b"e",
        name("their.module", "Settings") + b")\x81" + tuple_of(b"N", dict_of(a=number(1))) + b"b",
    ],
)
def test_what_lies_beside_the_weights_is_read_past(path, beside):
    """Settings in any class, numbers of NumPy, sets: nothing of them is made, and the weights are read."""
    archive(path, dict_of(args=beside, state_dict=dict_of(w=tensor((6,), (1,)))))
    assert load(path)["w"].tolist() == [0, 1, 2, 3, 4, 5]


def test_a_tensor_beside_the_weights_is_not_taken_for_them(path):
    archive(path, dict_of(model_state_dict=dict_of(w=tensor((6,), (1,))), loss=tensor((), ())))
    assert list(load(path)) == ["w"]


def test_a_whole_module_is_its_state_dict(path):
    def module(kind, **attributes):
        return name("their.model", kind) + b")\x81" + dict_of(**attributes) + b"b"

    inner = module("Conv", _parameters=dict_of(weight=tensor((6,), (1,)), bias=b"N"), _buffers=dict_of(), _modules=dict_of())
    outer = module("Net", _parameters=dict_of(), _buffers=dict_of(mean=tensor((2,), (1,))), _modules=dict_of(conv=inner), training=b"\x88")
    for program in (outer, dict_of(epoch=number(3), model=outer)):
        found = load(archive(path, program))
        assert {key: value.tolist() for key, value in found.items()} == {"mean": [0, 1], "conv.weight": [0, 1, 2, 3, 4, 5]}


def test_a_module_that_contains_itself(path):
    program = name("their.model", "Net") + b")\x81q\x00}(" + text("_modules") + dict_of(again=b"h\x00") + b"ub"
    with pytest.raises(ValueError, match="contains itself"):
        load(archive(path, program))


# --- files of PyTorch before 1.6 ----------------------------------------------------------


def legacy(program, keys=("0", "1"), storages=None, magic=0x1950A86A20F9469CFC6C, little=True):
    """Five pickles, and the numbers."""
    header = pickle.dumps(magic, 2) + pickle.dumps(1001, 2) + pickle.dumps({"little_endian": little}, 2)
    numbers = [struct.pack("<q", values.size) + values.tobytes() for values in storages or (SIX, np.array([7]))]
    return header + b"\x80\x02" + program + b"." + pickle.dumps(list(keys), 2) + b"".join(numbers)


def test_a_legacy_file(path):
    path.write_bytes(legacy(PROGRAM))
    assert load_metadata(path) == {}
    found = load(path)
    assert {key: value.tolist() for key, value in found.items()} == {"w": [[0, 1, 2], [3, 4, 5]], "b": [1, 3, 5], "n": 7}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"keys": ("0",)}, "storage '1' is not in the file"),
        ({"keys": ("0", "1", "2")}, "no tensor uses storage '2'"),
        ({"storages": (SIX[:5], np.array([7]))}, "storage '0' has 5 elements, and its tensors expect 6"),
        ({"little": False}, "least significant byte first"),
        ({"magic": 1 << 70}, "not one of torch.save"),
    ],
)
def test_a_legacy_file_that_is_damaged(path, changed, words):
    path.write_bytes(legacy(PROGRAM, **changed))
    with pytest.raises(ValueError, match=words):
        load(path)


def test_a_legacy_file_that_is_cut_off(path):
    path.write_bytes(legacy(PROGRAM)[:-1])
    with pytest.raises(ValueError, match=r"truncated: storage '1' ends at byte"):
        load(path)


# --- changed bytes ------------------------------------------------------------------------


def whole(program=PROGRAM):
    stream = io.BytesIO()
    archive(stream, program, {"0": SIX, "1": np.array([7])})
    return stream.getvalue()


def never_anything_but_a_value_error(path, content):
    path.write_bytes(content)
    message = f"starts with {path}"
    try:
        kinds = {value.dtype.kind for value in load(path).values()}
    except ValueError as error:
        message, kinds = str(error), set()
    assert str(path) in message
    assert kinds <= set("biuf")


changes = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4)


@given(changes, st.one_of(st.none(), st.floats(0, 1)))
def test_a_file_with_other_bytes_or_cut_off(tmp_path_factory, changes, kept):
    content = bytearray(whole())
    for place, value in changes:
        content[int(place * len(content))] = value
    content = content if kept is None else content[: int(kept * len(content))]
    never_anything_but_a_value_error(tmp_path_factory.mktemp("a") / "model.pth", content)


@given(changes, st.one_of(st.none(), st.floats(0, 1)))
def test_a_legacy_file_with_other_bytes_or_cut_off(tmp_path_factory, changes, kept):
    content = bytearray(legacy(PROGRAM))
    for place, value in changes:
        content[int(place * len(content))] = value
    content = content if kept is None else content[: int(kept * len(content))]
    never_anything_but_a_value_error(tmp_path_factory.mktemp("a") / "model.pth", content)


@given(changes, st.integers(0, 3))
def test_a_pickle_with_other_bytes(tmp_path_factory, changes, moved):
    """The archive and its checksums are valid, so that every change reaches the pickle machine."""
    program = bytearray(PROGRAM)
    for place, value in changes:
        program[int(place * len(program))] = value
    for _ in range(moved):
        program.insert(int(changes[0][0] * len(program)), changes[0][1])
    never_anything_but_a_value_error(tmp_path_factory.mktemp("a") / "model.pth", whole(bytes(program)))


@given(st.lists(st.sampled_from([*b"}])(tu0R.bQhqeas\x85\x86\x87\x88\x89N\x93\x94"]), max_size=40).map(bytes))
def test_any_order_of_instructions(tmp_path_factory, program):
    never_anything_but_a_value_error(tmp_path_factory.mktemp("a") / "model.pth", whole(tensor((6,), (1,)) + program))


# --- .npz --------------------------------------------------------------------------------


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_npz(tmp_path, write):
    arrays = {"a": np.arange(6.0).reshape(2, 3).T, "n": np.int64(3), "f": np.zeros((0, 2), "f4"), "layer.0/weight": np.ones(2, "f2")}
    write(tmp_path / "a.npz", **arrays)
    found = load(tmp_path / "a.npz")
    assert list(found) == list(arrays)
    for key, value in arrays.items():
        assert found[key].dtype == value.dtype
        np.testing.assert_array_equal(found[key].array, value)
    with pytest.raises(ValueError, match="key='a' is for checkpoints of PyTorch"):
        load(tmp_path / "a.npz", key="a")


def test_an_npz_with_objects_or_text_is_refused(tmp_path):
    trap = tmp_path / "trap"
    np.savez(tmp_path / "a.npz", a=np.array([Malicious(os.mkdir, str(trap))], dtype=object))
    with pytest.raises(ValueError, match=r"a\.npz: a\.npy: .*allow_pickle"):
        load(tmp_path / "a.npz")
    assert not trap.exists()
    np.savez(tmp_path / "a.npz", a=np.array(["text"]))
    with pytest.raises(ValueError, match="expected numbers"):
        load(tmp_path / "a.npz")


@given(changes, st.one_of(st.none(), st.floats(0, 1)), st.booleans())
def test_an_npz_with_other_bytes_or_cut_off(tmp_path_factory, changes, kept, compressed):
    stream = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(stream, a=np.arange(6.0), b=np.ones(3, "i2"))
    content = bytearray(stream.getvalue())
    for place, value in changes:
        content[int(place * len(content))] = value
    content = content if kept is None else content[: int(kept * len(content))]
    never_anything_but_a_value_error(tmp_path_factory.mktemp("a") / "a.npz", content)
