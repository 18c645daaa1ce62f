"""Positions for the nodes of a layered graph, by igraph (extra ``graph``)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from itertools import pairwise
from typing import Any

_HINT = "pip install 'minisegnet[graph]'; without it, viz.graph_dot returns the graph as text for Graphviz"


def layered(
    layer: Mapping[Hashable, int], edges: list[tuple[Hashable, Hashable]], distance: float
) -> tuple[dict[Hashable, float], list[list[float]]]:
    """Place nodes whose layers are given, so that few edges cross and none runs through a node.

    An edge that spans several layers passes through an invisible point in each. These points are placed as nodes
    are. Source: K. Sugiyama, S. Tagawa, M. Toda, IEEE Trans. SMC 11, 1981.

    Parameters
    ----------
    layer : dict, node → layer
    edges : list of (upper, lower) with ``layer[upper] > layer[lower]``
    distance : float
        The smallest distance between the centres of neighbours in a layer.

    Returns
    -------
    x : dict, node → centre
        The smallest is 0.
    routes : list of lists of x, one for each edge
        Where the edge crosses each layer, from the upper node to the lower.

    Raises
    ------
    ImportError
        If igraph is not installed.
    """
    try:
        import igraph
    except ImportError as error:
        raise ImportError(f"the layout of a graph needs igraph: {_HINT}") from error
    levels: dict[Any, int] = dict(layer)
    chains = []
    for number, (upper, lower) in enumerate(edges):
        points = {(number, level): level for level in range(layer[upper] - 1, layer[lower], -1)}
        levels.update(points)
        chains.append([upper, *points, lower])
    index = {node: k for k, node in enumerate(levels)}
    links = [(index[a], index[b]) for chain in chains for a, b in pairwise(chain)]
    graph = igraph.Graph(len(index), links, directed=True)
    placed = graph.layout_sugiyama(layers=list(levels.values()), hgap=distance, maxiter=1000)
    leftmost = min(x for x, _ in placed)
    at = {node: x - leftmost for node, (x, _) in zip(index, placed, strict=True)}
    return {node: at[node] for node in layer}, [[at[node] for node in chain] for chain in chains]
