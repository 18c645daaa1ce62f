"""Positions for the nodes of a layered graph, by fast-sugiyama (extra ``graph``)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from itertools import pairwise
from typing import Any

_HINT = "pip install fast-sugiyama; without it, viz.graph_dot returns the graph as text for Graphviz"


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
        Together they have to connect all nodes.
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
        If fast-sugiyama is not installed.
    """
    try:
        from fast_sugiyama import from_edges
    except ImportError as error:
        raise ImportError(f"the layout of a graph needs fast-sugiyama: {_HINT}") from error
    if not edges:
        return dict.fromkeys(layer, 0.0), []
    points = iter(range(len(layer), 2**63))  # the invisible points are numbered after the nodes
    number: dict[Any, int] = {node: k for k, node in enumerate(layer)}
    chains = [[number[a], *(next(points) for _ in range(layer[b] + 1, layer[a])), number[b]] for a, b in edges]
    # fast-sugiyama makes links as short as it can. Here each is one layer long, so it keeps the given layers.
    ((placed, *_),) = from_edges([link for chain in chains for link in pairwise(chain)], vertex_spacing=distance, dummy_vertices=False)
    leftmost = min(x for _, (x, _) in placed)
    at = {k: x - leftmost for k, (x, _) in placed}
    return {node: at[k] for node, k in number.items()}, [[at[k] for k in chain] for chain in chains]
