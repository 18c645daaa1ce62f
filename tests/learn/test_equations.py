"""`ms.equation`: the formula beside its code, from the registry and nowhere else."""

import re

import pytest

import minisegnet as ms
from minisegnet.learn.equations import _ROOT, _meaning, listing
from minisegnet.learn.lines import broken
from minisegnet_kernels import registry
from minisegnet_kernels.conv2d.ladder import allow_tf32

IDS = [e.id for e in registry.equations()]


@pytest.mark.parametrize("id", IDS)
def test_text_and_markdown_show_all_there_is(id):
    entry, page = registry.get(id), ms.equation(id)
    for shown, tex, meaning in ((str(page), str, str), (page._repr_markdown_(), broken, _meaning)):
        assert id in shown and tex(entry.tex) in shown
        assert all(meaning(text) in shown for text in entry.symbols.values())
        for view in registry.VIEWS:
            source = entry.source(view)
            if source is None:
                assert entry.missing[view] in shown
            else:
                assert source.text in shown and page.place(view) in shown


@pytest.mark.parametrize("id", IDS)
def test_places_are_true(id):
    """The lines that are named hold the function of that name."""
    page = ms.equation(id)
    for view in ("formula", "numpy", "numba"):
        file, _, lines = page.place(view).rpartition(":")
        first, last = map(int, lines.split("-"))
        text = "\n".join((_ROOT / file).read_text().splitlines()[first - 1 : last])
        assert f"def {registry.get(id).name}(" in text


@pytest.mark.parametrize("view", registry.VIEWS)
def test_a_page_shows_the_views_that_are_chosen(view):
    page, entry = ms.equation("conv2d.forward", views=[view]), registry.get("conv2d.forward")
    for shown in (str(page), page._repr_markdown_(), page.markdown()):
        assert [v for v in registry.VIEWS if entry.source(v).text in shown] == [view]
        assert entry.tex in shown or broken(entry.tex) in shown
    assert repr(page) == f"<equation conv2d.forward: {view}>"


def test_a_notebook_folds_every_program_but_the_loops():
    page = ms.equation("label.argmax")
    folded = re.findall(r"<details><summary>(.*?)</summary>\n\n(.*?)\n\n</details>", page._repr_markdown_(), re.S)
    assert [title for title, _ in folded] == ["NumPy", "Numba, on a CPU", "Numba, on a GPU", "CUDA C++"]
    for (_, program), view in zip(folded, ("numpy", "numba", "numba_cuda", "cuda"), strict=True):
        assert page.equation.source(view).text in program
    assert "<details>" not in page.markdown()


def test_an_unknown_view_and_an_operation_are_refused():
    with pytest.raises(ValueError, match="no view 'gpu'; choose from formula, numpy, numba, numba_cuda, cuda"):
        ms.equation("conv2d.forward", views=["gpu"])
    with pytest.raises(ValueError, match=r"conv2d is an operation .* choose one of conv2d\.forward, conv2d\.forward_relu"):
        ms.equation("conv2d")


def test_gradients_are_linked_both_ways():
    page = ms.equation("conv2d.forward")
    assert {e.id for e in page.gradients} == {e.id for e in registry.equations("conv2d") if e.grad_of == "conv2d.forward"} != set()
    assert "conv2d.grad_weight (with respect to w)" in str(page)
    assert "Gradient of conv2d.forward with respect to w." in str(ms.equation("conv2d.grad_weight"))


def test_missing_views_come_with_a_reason():
    page = ms.equation("conv2d.forward")
    for view, reason in page.missing.items():
        assert reason == page.equation.missing[view]
        with pytest.raises(ValueError, match=view):
            page.place(view)


def test_unknown_id_names_the_nearest():
    with pytest.raises(ValueError, match=r"conv2d\.forwrad.*conv2d\.forward"):
        ms.equation("conv2d.forwrad")


def test_listing_has_every_equation_once():
    rows = listing().splitlines()[2:]
    assert [row.split()[0] for row in rows] == IDS


def test_colour_only_adds_codes():
    page = ms.equation("label.argmax")
    plain = page.text(colour=True).replace("\033[1;36m", "").replace("\033[0m", "")
    assert plain == str(page) and "\033" not in str(page)


@pytest.mark.parametrize("entry", registry.equations(), ids=lambda e: e.id)
def test_symbols_are_shown_as_mathematics(entry):
    """Greek letters and accents as commands, never as words: a run of letters that no backslash begins is one symbol too many."""
    from minisegnet.learn.equations import _tex

    for symbol in entry.symbols:
        assert not re.search(r"(?<![\\A-Za-z])[A-Za-z]{2,}", _tex(symbol)), symbol


def test_symbols_in_a_meaning_are_mathematics_and_options_keep_their_names():
    assert (
        _meaning("option beta_1, the decay; v_h, not that of beta or |x|")
        == r"option beta_1, the decay; $v_h$, not that of $\beta$ or \|x\|"
    )


# --- the program that a case really runs ----------------------------------------------------------------

LAYER = {"x": (8, 64, 128, 128), "w": (64, 64, 3, 3), "padding": 1}


@pytest.mark.parametrize(
    ("id", "more", "file"),
    [
        ("conv2d.forward", {"gpu": (7, 5)}, "rung4_register_tile.cu"),
        ("conv2d.forward_relu", {"gpu": (8, 0)}, "rung7_tf32_tuned.cu"),
        ("conv2d.forward", {"dtype": "float64"}, "rung2_tile.cu"),
        ("conv2d.grad_input", {"layout": "rows first"}, "rung6_tf32.cu"),
        ("conv2d.grad_weight", {"stride": 2}, "rung8_tf32_grad_weight.cu"),
    ],
)
def test_a_page_shows_the_program_that_its_case_runs(id, more, file):
    with allow_tf32(True):
        page = ms.equation(id, {**LAYER, **more})
    assert page.rung.path.name == file
    text = page.rung.path.read_text().rstrip()
    assert text in page.text() and text in page._repr_markdown_()
    assert text not in ms.equation(id).text()


def test_a_page_says_where_typical_layers_go():
    shown = ms.equation("conv2d.forward")._repr_markdown_()
    assert "| 3×3, 64 → 64, 128² | 4 register_tile | 7 tf32_tuned | 5 asynchronous |" in shown
    for rung in {rung.path: rung for by_gpu in ms.equation("conv2d.forward").routes.values() for rung in by_gpu.values()}.values():
        assert f"minisegnet_kernels/{rung.path.relative_to(registry._ROOT).as_posix()}:1-" in shown
    assert ms.equation("activation.relu").routes == {} == ms.equation("conv2d.grad_bias").routes


@pytest.mark.parametrize(
    ("id", "case", "words"),
    [
        ("activation.relu", LAYER, "has one CUDA program"),
        ("conv2d.grad_bias", LAYER, "has one CUDA program"),
        ("conv2d.forward", {"x": (8, 3, 9, 9), "w": (64, 64, 3, 3)}, r"expected x \(N, C, H, W\) and w \(O, C/G, U, V\); got"),
        ("conv2d.forward", {**LAYER, "layout": "NHWC"}, "no layout 'NHWC'; choose 'channels last'"),
        ("conv2d.forward", {**LAYER, "w": (64, 64, 200, 3)}, "the kernel is larger than the padded input"),
    ],
)
def test_a_case_that_does_not_fit_is_refused(id, case, words):
    with pytest.raises(ValueError, match=words):
        ms.equation(id, case)
