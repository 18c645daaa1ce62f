"""The results of an operation's kernels as digests, to be compared between processes."""

import hashlib

import numba
from hypothesis import Phase, given, settings
from operations import TABLE

THREADS = (1, 2)


def drawn(strategy):
    """Ten cases; derandomised, so that every process draws the same."""
    cases = []

    @settings(derandomize=True, database=None, max_examples=10, phases=[Phase.generate], deadline=None)
    @given(strategy)
    def collect(case):
        cases.append(case.cast("float32"))

    collect()
    return cases


def digests(operation):
    """One line for each equation of an operation, case and number of threads: the shapes and a digest of the results."""
    lines = []
    for row in TABLE:
        if row.equation.partition(".")[0] == operation:
            for case in drawn(row.large if row.large is not None else row.cases):
                for threads in THREADS:
                    numba.set_num_threads(threads)
                    outputs = row(case)
                    digest = hashlib.sha256(b"".join(output.tobytes() for output in outputs)).hexdigest()
                    lines.append(f"{row} {[output.shape for output in outputs]} {digest}")
    return lines
