"""Read the resources of a kernel from a cubin, the ELF file of machine code that NVRTC makes."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_REGISTERS, _PARAMETER = 0x2F, 0x17  # EIATTR_REGCOUNT, EIATTR_KPARAM_INFO


@dataclass(frozen=True)
class Resources:
    """Registers of a thread, bytes of a block's static shared memory, bytes of each parameter."""

    registers: int = 0
    shared: int = 0
    parameters: tuple[int, ...] = ()


def resources(cubin: bytes, kernel: str) -> Resources:
    """Look a kernel up by its name in the file."""
    (table,) = struct.unpack_from("<Q", cubin, 40)
    size, count, names = struct.unpack_from("<HHH", cubin, 58)
    headers = [struct.unpack_from("<IIQQQQIIQQ", cubin, table + size * k) for k in range(count)]

    def text(section: int, at: int) -> str:
        start = headers[section][4] + at
        return cubin[start : cubin.index(b"\0", start)].decode()

    sections = {text(names, header[0]): header for header in headers}
    symbols = sections[".symtab"]
    registers = 0
    for value in _attributes(cubin, sections[".nv.info"], _REGISTERS):
        symbol, number = struct.unpack("<II", value)
        (name,) = struct.unpack_from("<I", cubin, symbols[4] + 24 * symbol)
        registers = number if text(symbols[6], name) == kernel else registers
    found = {}
    for value in _attributes(cubin, sections[f".nv.info.{kernel}"], _PARAMETER):
        _, ordinal, _, flags = struct.unpack("<IHHI", value)
        found[ordinal] = flags >> 18
    memory = sections.get(f".nv.shared.{kernel}")
    reserved = 1024 if ".nv.shared.reserved.0" in sections else 0  # from sm_90 on, the system reserves these bytes for each block
    return Resources(registers, max(memory[5] - reserved, 0) if memory else 0, tuple(found[k] for k in sorted(found)))


def _attributes(cubin: bytes, section: tuple, wanted: int) -> Iterator[bytes]:
    """The values of one kind of attribute. Each is (form, kind, length) and, in form 4, as many bytes."""
    at, end = section[4], section[4] + section[5]
    while at < end:
        form, kind, length = struct.unpack_from("<BBH", cubin, at)
        at += 4
        if form == 4:
            if kind == wanted:
                yield cubin[at : at + length]
            at += length
