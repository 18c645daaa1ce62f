"""The graph of a computation, as text and as a picture."""

import re
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from minisegnet import viz
from minisegnet.functional import arithmetic  # noqa: F401  it gives tensors their operators
from minisegnet.tensor import no_grad, tensor
from minisegnet.viz.diagram import _layers, _walk
from minisegnet.viz.layout import layered

pytest.importorskip("fast_sugiyama", reason="fast-sugiyama is not installed (extra graph)")


def pixels(path):
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return np.array(picture.convert("RGB"))


def count(picture, colour):
    return int((picture == np.array(colour)).all(-1).sum())


def small_graph():
    w, b = tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True), tensor([1.0, 1.0], requires_grad=True)
    h = tensor([[1.0, 1.0]]) @ w + b
    return (h * h).sum(), {"w": w, "b": b}


def dot_edges(text):
    names = dict(re.findall(r'(n\d+) \[label="(\w+)\\n', text))
    return sorted((names[a], names[b]) for a, b in re.findall(r"(n\d+) -> (n\d+);", text))


def test_the_graph_as_text_has_every_node_and_edge():
    loss, names = small_graph()
    text = viz.graph_dot(loss, names=names)
    assert text.startswith("digraph") and text.rstrip().endswith("}")
    assert dot_edges(text) == [("add", "mul"), ("add", "mul"), ("b", "add"), ("matmul", "add"), ("mul", "sum"), ("w", "matmul")]
    assert text.count("leaf") == 0 and 'label="w\\n2 × 2"' in text and "scalar" in text


def test_the_graph_as_a_picture(tmp_path):
    loss, names = small_graph()
    found = pixels(viz.graph(loss, tmp_path / "graph.png", names=names))
    assert count(found, (223, 243, 234)) > 1000, "no leaf"
    assert count(found, (232, 241, 249)) > 1000, "no operation"
    assert count(found, (253, 234, 207)) > 1000, "no root"
    assert (found[:4] == 255).all() and (found[-4:] == 255).all() and (found[:, :4] == 255).all() and (found[:, -4:] == 255).all()
    assert isinstance(viz.graph(loss), Image.Image)


def test_a_long_graph_is_cut_and_a_deep_one_does_not_overflow():
    x = tensor([1.0], requires_grad=True)
    for _ in range(3000):
        x = x * 1.0
    text = viz.graph_dot(x, max_nodes=10)
    assert "the last 10 of 3001 nodes" in text and text.count("->") == 9
    assert viz.graph_dot(x).count("->") == 3000
    assert viz.graph(x, max_nodes=12).size[1] < 12 * 150


def test_a_single_node_has_a_place():
    assert layered({"only": 0}, [], 1.5) == ({"only": 0.0}, [])


def test_edges_that_pass_outside_all_boxes_stay_in_the_picture():
    h, skips = tensor([1.0], requires_grad=True), []
    for _ in range(8):
        h = h * 2
        skips.append(h)
    for skip in reversed(skips):
        h = h + skip
    found = np.asarray(viz.graph(h))
    assert (found[:, :6] == 255).all() and (found[:, -6:] == 255).all()


def test_every_arrow_points_down():
    """The case in which an early and a late operation use the same value."""
    s = tensor([1.0], requires_grad=True) * 2
    old = s * 3
    y = ((s * 4) * 5) * 6 + old
    _, nodes, _ = _walk(y, None)
    layer, edges = _layers(nodes)
    assert len(edges) == 7
    assert all(layer[upper] > layer[lower] for upper, lower in edges)


def test_a_tensor_without_a_history_has_no_graph():
    with pytest.raises(ValueError, match="has no graph"):
        viz.graph(tensor([1.0]))
    x = tensor([1.0], requires_grad=True)
    with no_grad():
        y = x * 2
    with pytest.raises(ValueError, match="no_grad"):
        viz.graph_dot(y)
    with pytest.raises(ValueError, match="max_nodes must be positive"):
        viz.graph(x * 2, max_nodes=0)


@given(st.integers(2, 25), st.integers(0, 2**32 - 1))
def test_no_two_nodes_of_a_layout_are_too_near_and_no_edge_runs_through_one(nodes, seed):
    """Random graphs in which each node feeds one or two older ones."""
    rng = np.random.default_rng(seed)
    layer, edges = {0: 0}, []
    for node in range(1, nodes):
        for lower in {int(k) for k in rng.integers(0, node, 2)}:
            edges.append((node, lower))
        layer[node] = 1 + max(layer[lower] for upper, lower in edges if upper == node)
    x, routes = layered(layer, edges, 1.5)
    assert min(min(x.values()), min(map(min, routes))) == 0
    for a in layer:
        for b in layer:
            if a < b and layer[a] == layer[b]:
                assert abs(x[a] - x[b]) >= 1.5 - 1e-6
    for (upper, lower), route in zip(edges, routes, strict=True):
        assert len(route) == layer[upper] - layer[lower] + 1
        assert route[0] == x[upper] and route[-1] == x[lower]
        for k, at in enumerate(route[1:-1], 1):
            for other in (n for n in layer if layer[n] == layer[upper] - k):
                assert abs(at - x[other]) >= 1.5 - 1e-6, "an edge runs through a node"


def test_without_the_library_of_the_layout_the_error_says_what_to_install_and_what_works_without_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "fast_sugiyama", None)
    loss, _ = small_graph()
    with pytest.raises(ImportError, match=r"pip install fast-sugiyama; .*graph_dot"):
        viz.graph(loss)
    assert viz.graph_dot(loss).startswith("digraph")
