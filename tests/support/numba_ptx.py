"""Compile Numba CUDA kernels to PTX without a GPU, in a separate process that does not use the simulator.

Standard input is a pickled list of (module, name, signature, architectures). Standard output has one line of JSON for each
result: module, name, signature, architecture, and either the PTX or the error.
"""

import json
import os
import pickle
import subprocess
import sys
from importlib import import_module
from types import SimpleNamespace


def compile_all(requests: list[tuple]) -> list[dict]:
    """Compile in another process, because this one may use the simulator."""
    environment = os.environ | {"NUMBA_ENABLE_CUDASIM": "0"}
    done = subprocess.run([sys.executable, "-m", __name__], input=pickle.dumps(requests), capture_output=True, env=environment, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.decode()[-4000:])
    return [json.loads(line) for line in done.stdout.splitlines()]


def _compile(module: str, name: str, signature: tuple, architecture: tuple[int, int]) -> dict:
    from minisegnet_kernels.cuda.jit import cuda

    # Numba asks the driver for the GPU for which to compile device functions; without a driver we answer.
    import_module("numba.cuda.dispatcher").get_current_device = lambda: SimpleNamespace(compute_capability=architecture)
    try:
        return {"ptx": cuda.compile_ptx(getattr(import_module(module), name).py_func, signature, cc=architecture)[0]}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


def refused_kernel(x):
    """A planted fault: Numba cannot compile it."""
    x[0] = {}.popitem()


def wide_kernel(x):
    """A planted fault: a Python literal is a 64-bit number."""
    x[0] = x[0] * 0.1


for planted in (refused_kernel, wide_kernel):
    planted.py_func = planted  # type: ignore[attr-defined]


def main() -> None:
    for module, name, signature, architectures in pickle.load(sys.stdin.buffer):
        for architecture in architectures:
            result = _compile(module, name, signature, architecture)
            found = {"module": module, "name": name, "signature": [str(t) for t in signature], "architecture": architecture, **result}
            print(json.dumps(found))


if __name__ == "__main__":
    main()
