"""Where the nodes of a layered graph go: few crossings, straight edges, no overlap.

Sugiyama's method in its plainest form: an edge that spans several layers passes through an invisible
point in each, layers are ordered by the mean position of their neighbours, and then moved towards it
as far as the widths allow. Source: K. Sugiyama, S. Tagawa, M. Toda, IEEE Trans. SMC 11, 1981.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping
from itertools import pairwise

import numpy as np


def layered(layer: Mapping[Hashable, int], edges: list[tuple[Hashable, Hashable]], width: Mapping[Hashable, float], gap: float = 0.25):
    """Positions of nodes whose layers are given.

    Parameters
    ----------
    layer : dict, node → layer
    edges : list of (upper, lower) with ``layer[upper] > layer[lower]``
    width : dict, node → width
    gap : float
        The least distance between two neighbours.

    Returns
    -------
    x : dict, node → centre
        The leftmost edge lies at 0.
    routes : list of lists of x, one an edge
        Where the edge crosses each layer, from the upper node to the lower.
    """
    rows, links, chains = _with_points(layer, edges)
    size = defaultdict(lambda: 0.1, width)  # an invisible point is as wide as a line needs

    for sweep in range(12):
        order = range(len(rows)) if sweep % 2 == 0 else range(len(rows) - 1, -1, -1)
        step = -1 if sweep % 2 == 0 else 1
        for r in order:
            if 0 <= r + step < len(rows):
                rank = {node: k for k, node in enumerate(rows[r + step])}
                here = {node: k for k, node in enumerate(rows[r])}
                rows[r].sort(key=lambda n, rank=rank, here=here: _mean_of(n, links, rank, here))

    # The longest path stands upright in the middle, and the rest arranges itself around it. A node that
    # only feeds one other is light: it goes where there is room, and moves nobody.
    spine = _longest_path(layer, edges)
    heavy = {node: 1e6 if node in spine else 0.02 if len(links[node]) == 1 else 1.0 for row in rows for node in row}
    x = {node: 0.0 for row in rows for node in row}
    for sweep in range(120):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            wanted = [0.0 if node in spine else _wish(node, links, x, layer, heavy) for node in row]
            x.update(_spread(row, wanted, [heavy[node] for node in row], size, gap))
    leftmost = min(x[node] - size[node] / 2 for node in x)
    x = {node: value - leftmost for node, value in x.items()}
    return {node: x[node] for node in layer}, [[x[node] for node in chain] for chain in chains]


def _with_points(layer, edges):
    """Layers as lists, neighbours, and the chain of nodes and points that each edge runs through."""
    rows: list[list] = [[] for _ in range(max(layer.values()) + 1)]
    for node, level in layer.items():
        rows[level].append(node)
    links, chains = defaultdict(list), []
    for number, (upper, lower) in enumerate(edges):
        chain = [upper]
        for level in range(layer[upper] - 1, layer[lower], -1):
            point = ("point", number, level)
            rows[level].append(point)
            chain.append(point)
        chain.append(lower)
        for a, b in pairwise(chain):
            links[a].append(b)
            links[b].append(a)
        chains.append(chain)
    return rows, links, chains


def _mean_of(node, links, rank, here):
    """Sorting key: the mean rank of a node's neighbours in the layer beside it; without any, it stays."""
    ranks = [rank[n] for n in links[node] if n in rank]
    return (float(np.mean(ranks)) if ranks else float(here[node]), here[node])


def _longest_path(layer, edges) -> set:
    """The nodes of one path from layer 0 to the top that passes through every layer."""
    above: dict = {}
    for upper, lower in edges:
        if layer[upper] == layer[lower] + 1:
            above.setdefault(upper, lower)
    node = max(layer, key=layer.__getitem__)
    path = {node}
    while node in above:
        node = above[node]
        path.add(node)
    return path


def _wish(node, links, x, layer, heavy) -> float:
    """Where a node would like to be: at the mean of its neighbours, nearer to those of its own kind.

    So long edges come out straight, and bend where they meet a node.
    """
    near = [n for n in links[node] if heavy[n] >= 1] or links[node]
    pull = [500.0 if (n in layer) == (node in layer) else 1.0 for n in near]
    return float(np.average([x[n] for n in near], weights=pull)) if near else x[node]


def _spread(row, wanted, weight, size, gap) -> dict:
    """Centres nearest to those wanted (weighted least squares) that keep the order and the distances.

    Without the distances subtracted the constraint is "not decreasing": isotonic regression, solved by
    pooling neighbours that violate it.
    """
    offsets = np.zeros(len(row))
    for k in range(1, len(row)):
        offsets[k] = offsets[k - 1] + (size[row[k - 1]] + size[row[k]]) / 2 + gap
    pools: list[list[float]] = []  # mean, weight, count
    for target, offset, heavy in zip(wanted, offsets, weight, strict=True):
        pools.append([target - offset, heavy, 1])
        while len(pools) > 1 and pools[-2][0] >= pools[-1][0]:
            mean, total, count = pools.pop()
            before = pools[-1]
            before[0] = (before[0] * before[1] + mean * total) / (before[1] + total)
            before[1] += total
            before[2] += count
    means = [pool[0] for pool in pools for _ in range(int(pool[2]))]
    return {node: mean + offset for node, mean, offset in zip(row, means, offsets, strict=True)}
