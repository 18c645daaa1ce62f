"""The graph of a computation: the nodes through which the chain rule walks."""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterable, Mapping
from typing import Any

from ..tensor import Node, Tensor
from .layout import layered
from .style import GREY, INK, finish, new_figure

_FILL = {"leaf": "#dff3ea", "op": "#e8f1f9", "root": "#fdeacf", "more": "#ffffff"}
_EDGE = {"leaf": "#009e73", "op": "#56b4e9", "root": "#e69f00", "more": "#ffffff"}
_ROW, _TALL, _GAP = 0.74, 0.44, 0.25  # inches: from layer to layer, height of a box, between two boxes


class _More:
    """A place holder for the inputs of a node that are not drawn."""


def graph(
    tensor: Tensor,
    path: str | os.PathLike | None = None,
    *,
    names: Mapping[str, Tensor] | Iterable[tuple[str, Tensor]] | None = None,
    max_nodes: int = 40,
    title: str = "Graph of the computation",
) -> Any:
    """Draw what a tensor was computed from.

    The tensor is at the bottom. Leaves, whose ``grad`` is filled by `backward`, are green and stand above the
    operations that use them. Values flow down along the arrows, gradients back up. Inputs that need no gradient
    are not part of the graph.

    Parameters
    ----------
    tensor : Tensor
    path : path, optional
        Where to write the PNG. Without it, the picture is returned.
    names : dict or pairs of name and Tensor, optional
        Names for the leaves, for example ``dict(model.named_parameters())``.
    max_nodes : int
        The largest number of nodes that are drawn. Of a larger graph only the newest nodes are drawn. "⋯" stands for the rest, and a note says how many nodes there are.
    title : str

    Returns
    -------
    Path or PIL.Image.Image

    Raises
    ------
    ValueError
        If the tensor has no graph, or `max_nodes` is not positive.
    ImportError
        If fast-sugiyama, which computes the layout, is not installed: ``pip install fast-sugiyama``.

    See Also
    --------
    graph_dot : the same graph as text, for Graphviz.
    """
    root, nodes, total = _walk(tensor, max_nodes)
    called = _titles(names)
    layer, edges = _layers(nodes)
    text = {n: ("⋯", "") if isinstance(n, _More) else _label(n, called) for n in layer}
    width = {n: max(0.11 * len(head) + 0.26, 0.078 * len(shape) + 0.26, 0.7) for n, (head, shape) in text.items()}
    widest = max(width.values())
    x, routes = layered(layer, edges, widest + _GAP)

    span = widest + max([*x.values(), *(at for route in routes for at in route)])
    depth = max(layer.values())
    wide, tall = max(span + 0.8, 4.6), depth * _ROW + _TALL + 1.4
    figure = new_figure(wide, tall)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, wide)
    axes.set_ylim(0, tall)
    axes.axis("off")
    axes.text(0.4, tall - 0.36, title, fontsize=13, weight="bold", color=INK, va="center")
    shown = sum(isinstance(n, Node) for n in layer)
    note = f"{total} nodes" if shown == total else f"the last {shown} of {total} nodes; ⋯ stands for earlier ones"
    axes.text(0.4, tall - 0.63, note, fontsize=9, color=GREY, va="center")

    left = (wide - span + widest) / 2

    def height(level: int) -> float:
        return 0.4 + _TALL / 2 + level * _ROW

    for (upper, lower), route in zip(edges, routes, strict=True):
        _arrow(
            axes,
            [left + r for r in route],
            [height(layer[upper] - k) for k in range(len(route))],
            dotted=isinstance(upper, _More),
            end=lower is root,
        )
    for node, (head, shape) in text.items():
        kind = "more" if isinstance(node, _More) else "root" if node is root else "op" if node.inputs else "leaf"
        _box(axes, left + x[node], height(layer[node]), width[node], head, shape, kind)
    return finish(figure, path)


def graph_dot(
    tensor: Tensor, *, names: Mapping[str, Tensor] | Iterable[tuple[str, Tensor]] | None = None, max_nodes: int | None = None
) -> str:
    """The same graph as text in the DOT language, for Graphviz.

    The parameters are those of `graph`. By default the graph is not cut.
    """
    root, nodes, total = _walk(tensor, max_nodes)
    called = _titles(names)
    number = {node: k for k, node in enumerate(reversed(nodes))}
    lines = ["digraph computation {", '  rankdir=TB; node [shape=box, style="rounded,filled", fontname="Helvetica", fontsize=10];']
    if len(nodes) < total:
        lines.append(f'  label="the last {len(nodes)} of {total} nodes";')
    for node, k in number.items():
        head, shape = (part.replace("\\", "\\\\").replace('"', '\\"') for part in _label(node, called))
        kind = "root" if node is root else "op" if node.inputs else "leaf"
        lines.append(f'  n{k} [label="{head}\\n{shape}", fillcolor="{_FILL[kind]}", color="{_EDGE[kind]}"];')
    for node, k in number.items():
        lines += [f"  n{number[source]} -> n{k};" for source in node.inputs if source in number]
    return "\n".join([*lines, "}"]) + "\n"


def _walk(tensor: Tensor, max_nodes: int | None) -> tuple[Node, list[Node], int]:
    """The root; the nodes to show, newest first, so that each comes after all nodes that use it; the number of all nodes."""
    root = tensor._node
    if root is None or not tensor.requires_grad:
        raise ValueError("this tensor has no graph: it was computed under no_grad, or from tensors without requires_grad=True")
    if max_nodes is not None and max_nodes < 1:
        raise ValueError(f"max_nodes must be positive, not {max_nodes}")
    nodes, seen, newest = [], {root}, [(-root.serial, root)]
    while newest:
        _, node = heapq.heappop(newest)
        nodes.append(node)
        for source in node.inputs:
            if source is not None and source not in seen:
                seen.add(source)
                heapq.heappush(newest, (-source.serial, source))
    if max_nodes is None or len(nodes) <= max_nodes:
        return root, nodes, len(nodes)
    return root, _nearest(nodes, max_nodes), len(nodes)


def _nearest(nodes: list[Node], limit: int) -> list[Node]:
    """The newest operations together with their leaves, up to a limit.

    A weight is made before the first step, so it is older than every operation. Without its leaves, an operation
    would be drawn as if it had no weight.
    """
    chosen: set[Node] = set()
    for node in nodes:
        group = {node, *(s for s in node.inputs if s is not None and not s.inputs)} - chosen if node.inputs else set()
        if chosen and len(chosen) + len(group) > limit:
            break
        chosen |= group
    return [n for n in nodes if n in chosen] or nodes[:1]


def _layers(nodes: list[Node]) -> tuple[dict, list]:
    """The layer of each node, and the edges. The root is in layer 0; every input lies above all nodes that use it."""
    layer: dict[Any, int] = dict.fromkeys(nodes, 0)
    edges: list[tuple[Any, Any]] = []
    for node in list(layer):
        hidden = False
        for source in dict.fromkeys(s for s in node.inputs if s is not None):  # x*x is one arrow
            if source in layer:
                edges.append((source, node))
                layer[source] = max(layer[source], layer[node] + 1)
            else:
                hidden = True
        if hidden:
            more = _More()
            layer[more] = layer[node] + 1
            edges.append((more, node))
    return layer, edges


def _titles(names: Any) -> dict[Node, str]:
    pairs = names.items() if isinstance(names, Mapping) else names or ()
    return {t._node: name for name, t in pairs if t._node is not None}


def _label(node: Node, called: Mapping[Node, str]) -> tuple[str, str]:
    shape = "scalar" if not node.shape else " × ".join(map(str, node.shape))
    return called.get(node, node.name.lstrip("_")), shape


def _box(axes: Any, x: float, y: float, width: float, head: str, shape: str, kind: str) -> None:
    from matplotlib.patches import FancyBboxPatch

    if kind == "more":
        axes.text(x, y - 0.1, head, ha="center", va="center", fontsize=15, color=GREY)
        return
    style = f"round,pad=0,rounding_size={_TALL / 2 if kind == 'leaf' else 0.07}"
    corner = (x - width / 2, y - _TALL / 2)
    axes.add_patch(
        FancyBboxPatch(corner, width, _TALL, boxstyle=style, facecolor=_FILL[kind], edgecolor=_EDGE[kind], linewidth=1.2, zorder=3)
    )
    axes.text(x, y + 0.085, head, ha="center", va="center", fontsize=9.5, weight="bold", color=INK, zorder=4)
    axes.text(x, y - 0.105, shape, ha="center", va="center", fontsize=7.5, color=GREY, zorder=4)


def _arrow(axes: Any, xs: list[float], ys: list[float], dotted: bool, end: bool) -> None:
    """A smooth line down through one point in each row, with an arrowhead at its end."""
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path as Curve

    half = _TALL / 2
    points, codes = [(xs[0], ys[0] - half)], [Curve.MOVETO]
    for k in range(1, len(xs)):
        # The line bends only between rows. Beside the boxes of a row it runs straight down.
        start, stop, tip = ys[k - 1] - half, ys[k] + half, 0.02 if k == len(xs) - 1 else 0
        middle = (start + stop) / 2
        points += [(xs[k - 1], middle), (xs[k], middle), (xs[k], stop + tip)]
        codes += [Curve.CURVE4] * 3
        if k < len(xs) - 1:
            points.append((xs[k], ys[k] - half))
            codes.append(Curve.LINETO)
    line: dict[str, Any] = {"linewidth": 1.1, "color": "#8a90a0", "linestyle": ":" if dotted else "-", "zorder": 2 if end else 1}
    axes.add_patch(FancyArrowPatch(path=Curve(points, codes), arrowstyle="-|>,head_length=4,head_width=2", shrinkA=0, shrinkB=0, **line))
