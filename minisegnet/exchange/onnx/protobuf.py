"""The part of the ONNX file format that a network needs: protocol buffers, written directly.

A message is a sequence of fields. A field is a number with a kind, followed by its content:

===== ======================= =============================================================
kind  for                     content
===== ======================= =============================================================
0     integers                seven bits per byte, lowest first; the eighth bit is set if more bytes follow
2     text, bytes, messages   the length as such an integer, then the bytes
5     float                   four bytes, lowest first
===== ======================= =============================================================

Number and kind are stored as one integer, ``number·8 + kind``. A repeated field is written once for each of its values,
a missing field not at all. `FIELDS` is the part of ``onnx.proto`` (github.com/onnx/onnx) that is used here.

`encode` returns a list of buffers instead of one, so that the weights are not copied on their way to the file.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

# message -> field -> (number, type); a type is int, float, text, bytes, or another message
FIELDS: dict[str, dict[str, tuple[int, str]]] = {
    "ModelProto": {
        "ir_version": (1, "int"),
        "producer_name": (2, "text"),
        "producer_version": (3, "text"),
        "doc_string": (6, "text"),
        "graph": (7, "GraphProto"),
        "opset_import": (8, "OperatorSetIdProto"),
        "metadata_props": (14, "StringStringEntryProto"),
    },
    "OperatorSetIdProto": {"domain": (1, "text"), "version": (2, "int")},
    "StringStringEntryProto": {"key": (1, "text"), "value": (2, "text")},
    "GraphProto": {
        "node": (1, "NodeProto"),
        "name": (2, "text"),
        "initializer": (5, "TensorProto"),
        "input": (11, "ValueInfoProto"),
        "output": (12, "ValueInfoProto"),
    },
    "NodeProto": {
        "input": (1, "text"),
        "output": (2, "text"),
        "name": (3, "text"),
        "op_type": (4, "text"),
        "attribute": (5, "AttributeProto"),
    },
    "AttributeProto": {
        "name": (1, "text"),
        "f": (2, "float"),
        "i": (3, "int"),
        "s": (4, "text"),
        "floats": (7, "float"),
        "ints": (8, "int"),
        "type": (20, "int"),
    },
    "TensorProto": {"dims": (1, "int"), "data_type": (2, "int"), "name": (8, "text"), "raw_data": (9, "bytes")},
    "ValueInfoProto": {"name": (1, "text"), "type": (2, "TypeProto")},
    "TypeProto": {"tensor_type": (1, "Tensor")},
    "Tensor": {"elem_type": (1, "int"), "shape": (2, "TensorShapeProto")},
    "TensorShapeProto": {"dim": (1, "Dimension")},
    "Dimension": {"dim_value": (1, "int"), "dim_param": (2, "text")},
}
DATA_TYPES = {"float32": 1, "uint8": 2, "int8": 3, "int16": 5, "int32": 6, "int64": 7, "bool": 9, "float16": 10, "float64": 11}
LARGEST = (1 << 31) - 1  # bytes of a message; programs refuse more
_ATTRIBUTE_TYPES = {"f": 1, "i": 2, "s": 3, "floats": 6, "ints": 7}

Chunks = list[Any]  # bytes and memoryviews


def encode(message: str, values: Mapping[str, Any]) -> Chunks:
    """Encode a message as buffers.

    Parameters
    ----------
    message : str
        A name in `FIELDS`.
    values : mapping
        The values of the fields: a list for a repeated field, a mapping for a field that is a message.
    """
    chunks: Chunks = []
    for field, value in values.items():
        number, kind = FIELDS[message][field]
        for one in value if isinstance(value, list) else [value]:
            chunks += _field(number, kind, one)
    return chunks


def _field(number: int, kind: str, value: Any) -> Chunks:
    if kind == "int":
        return [varint(number << 3) + varint(value)]
    if kind == "float":
        return [varint(number << 3 | 5) + struct.pack("<f", value)]
    content = [value.encode()] if kind == "text" else [value] if kind == "bytes" else encode(kind, value)
    return [varint(number << 3 | 2) + varint(length(content)), *content]


def varint(value: int) -> bytes:
    """An integer, seven bits per byte; a negative one in two's complement of 64 bits."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def length(chunks: Chunks) -> int:
    """The number of bytes in all buffers together."""
    return sum(len(chunk) for chunk in chunks)


def tensor(name: str, array: np.ndarray) -> dict[str, Any]:
    """A TensorProto, which stores the numbers as they are in memory."""
    stored = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    raw = stored.reshape(-1).view(np.uint8).data
    return {"dims": list(map(int, array.shape)), "data_type": DATA_TYPES[array.dtype.name], "name": name, "raw_data": raw}


def attribute(name: str, value: Any) -> dict[str, Any]:
    """An AttributeProto for a number, a text, or a list of numbers."""
    if isinstance(value, list | tuple):
        field, value = ("floats" if any(isinstance(v, float) for v in value) else "ints"), list(value)
    else:
        field = "s" if isinstance(value, str) else "f" if isinstance(value, float) else "i"
    return {"name": name, field: value, "type": _ATTRIBUTE_TYPES[field]}


def value_info(name: str, dtype: str, shape: list[int | str]) -> dict[str, Any]:
    """A ValueInfoProto; a dimension whose size may vary has a name."""
    dims = [{"dim_param": n} if isinstance(n, str) else {"dim_value": n} for n in shape]
    return {"name": name, "type": {"tensor_type": {"elem_type": DATA_TYPES[dtype], "shape": {"dim": dims}}}}
