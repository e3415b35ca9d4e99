"""Figures: which colours stand for which values, what shares a scale, and what a paper gets."""

import re
import subprocess
import sys

import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from xaijax import plot, resize

RNG = np.random.default_rng(0)
IMAGES = [RNG.uniform(size=(16, 16, 3)), RNG.integers(0, 256, (8, 16, 3), np.uint8)]
POSITIVE = [np.array([[0.0, 1.0], [2.0, 0.5]]), np.array([[0.0, 4.0], [1.0, 0.0]])]
SIGNED = [np.array([[-3.0, 1.0]]), np.array([[0.5, 0.25]])]
MAPS = {"Grad-CAM": POSITIVE, "LIME": SIGNED}


def pictures(figure):
    """The axes with an image, and those of colour bars."""
    shown = [ax for ax in figure.axes if ax.images]
    return shown, [ax for ax in figure.axes if not ax.images]


def colours(values, grey, name, low, high, alpha=0.6):
    """What a panel must show, from Matplotlib's own colour map."""
    mapped = matplotlib.colormaps[name]((values - low) / (high - low))[..., :3]
    return alpha * mapped + (1 - alpha) * grey[..., None]


def limits(figure):
    """The limits of every colour bar, from its labels."""
    ends = []
    for ax in pictures(figure)[1]:
        across = [t.get_text() for t in ax.get_xticklabels()]
        texts = across or [t.get_text() for t in ax.get_yticklabels()]
        ends.append(tuple(float(texts[i].replace("\N{MINUS SIGN}", "-")) for i in (0, -1)))
    return ends


def check_layout(figure):
    """In print, no text covers another or leaves the figure, and no picture covers another."""
    figure.set_dpi(300)
    figure.draw_without_rendering()
    texts = [t for t in figure.findobj(Text) if t.get_text() and t.get_visible()]
    boxes = [t.get_window_extent() for t in texts]
    for i, box in enumerate(boxes):
        for j in range(i):
            inner = box.intersection(box, boxes[j])
            clear = inner is None or min(inner.width, inner.height) < 1
            assert clear, f"{texts[i].get_text()!r} is over {texts[j].get_text()!r}"
        frame, name = figure.bbox, texts[i].get_text()
        assert box.x0 > frame.x0 - 1, name
        assert box.x1 < frame.x1 + 1, name
        assert box.y0 > frame.y0 - 1, name
        assert box.y1 < frame.y1 + 1, name
    places = [ax.get_window_extent() for ax in figure.axes]
    for i, box in enumerate(places):
        for other in places[:i]:
            inner = box.intersection(box, other)
            assert inner is None or min(inner.width, inner.height) < 1


# --- overlay


def test_overlay_mixes_colours_with_grey():
    image, a = IMAGES[0], RNG.uniform(size=(16, 16))
    drawn = plot.overlay(Figure().subplots(), image, a, unit="logit", title="Grad-CAM")
    expected = colours(a, image.mean(-1), "inferno", 0, a.max())
    np.testing.assert_allclose(drawn.get_array(), expected, atol=1e-6)
    assert drawn.get_clim() == (0, a.max())
    assert drawn.get_cmap().name == "inferno"
    assert [ax.get_ylabel() for ax in drawn.figure.axes] == ["", "logit"]
    assert drawn.axes.get_title("left") == "Grad-CAM"


def test_overlay_of_a_signed_map_is_even_around_zero():
    image = IMAGES[1]
    drawn = plot.overlay(Figure().subplots(), image, SIGNED[0], alpha=0.25)
    assert drawn.get_clim() == (-3, 3)
    values = np.asarray(resize(SIGNED[0], (8, 16)))
    expected = colours(values, image.mean(-1) / 255, "RdBu_r", -3, 3, 0.25)
    np.testing.assert_allclose(drawn.get_array(), expected, atol=1e-6)


def test_colour_maps_by_name():
    image = np.zeros((4, 4))
    drawn = plot.overlay(Figure().subplots(), image, np.eye(4), cmap="jet", alpha=1)
    np.testing.assert_allclose(drawn.get_array()[0, 0], matplotlib.colormaps["jet"](1.0)[:3])
    np.testing.assert_allclose(drawn.get_array()[0, 1], matplotlib.colormaps["jet"](0.0)[:3])


def test_the_bar_shows_the_colours_over_white():
    drawn = plot.overlay(Figure().subplots(), IMAGES[0], POSITIVE[0])
    solids = drawn.figure.axes[1].collections[-1]
    shown = solids.cmap(solids.norm(np.array([0.0, 2.0])))
    white = np.ones(2)
    expected = colours(np.array([0.0, 2.0]), white, "inferno", 0, 2)
    np.testing.assert_allclose(shown[:, :3], expected, atol=1e-6)
    np.testing.assert_array_equal(shown[:, 3], 1)


@pytest.mark.parametrize(
    ("a", "text"),
    [
        (np.zeros((2, 2)), "flat (0)"),
        (np.full((2, 2), -1.5), "flat (\N{MINUS SIGN}1.5)"),
        (np.array([[np.nan, 1.0]]), "not finite"),
        (np.array([[-np.inf, 1.0]]), "not finite"),
    ],
)
def test_maps_that_show_nothing_say_so(a, text):
    image = IMAGES[0]
    drawn = plot.overlay(Figure().subplots(), image, a)
    assert [t.get_text() for t in drawn.axes.texts] == [text]
    grey = np.repeat(image.mean(-1)[..., None], 3, -1)
    np.testing.assert_allclose(drawn.get_array(), grey)
    assert len(drawn.figure.axes) == 1  # no bar for no colours


@pytest.mark.parametrize("dtype", [np.float16, np.int32, np.bool_, jnp.bfloat16, np.float32])
def test_types(dtype):
    a = jnp.asarray([[0, 1], [1, 1]], dtype)
    drawn = plot.overlay(Figure().subplots(), jnp.zeros((2, 2, 3), jnp.float32), a)
    assert drawn.get_clim() == (0, 1)


# --- grid


def test_grid_of_methods_and_images():
    figure = plot.grid(IMAGES, MAPS, labels=["tench", "cock"], scores={"LIME": [0.5, -2]})
    shown, bars = pictures(figure)
    assert (len(shown), len(bars)) == (6, 2)
    np.testing.assert_array_equal(shown[0].images[0].get_array(), IMAGES[0])
    np.testing.assert_allclose(shown[3].images[0].get_array(), IMAGES[1] / 255)
    texts = {t.get_text() for t in figure.findobj(Text)}
    assert {"Grad-CAM", "LIME", "tench", "cock", "0.500", "\N{MINUS SIGN}2.00"} <= texts
    check_layout(figure)


# The limits of the maps of Grad-CAM and LIME, image by image, and of the bars in their order.
SHARED = {
    "panel": ([(0, 2), (-3, 3), (0, 4), (0, 0.5)], [(0, 2), (-3, 3), (0, 4), (0, 0.5)]),
    "row": ([(-3, 3), (-3, 3), (0, 4), (0, 4)], [(-3, 3), (0, 4)]),
    "column": ([(0, 4), (-3, 3), (0, 4), (-3, 3)], [(0, 4), (-3, 3)]),
    "all": ([(-4, 4)] * 4, [(-4, 4)]),
}


@pytest.mark.parametrize("scale", SHARED)
def test_shared_scales_have_one_bar(scale):
    figure = plot.grid(IMAGES, MAPS, scale=scale, unit="logit")
    shown, _ = pictures(figure)
    panels = [shown[i].images[0] for i in (1, 2, 4, 5)]
    of_panels, of_bars = SHARED[scale]
    assert [panel.get_clim() for panel in panels] == of_panels
    assert limits(figure) == of_bars
    for panel, (low, high), a, image in zip(
        panels,
        of_panels,
        (POSITIVE[0], SIGNED[0], POSITIVE[1], SIGNED[1]),
        (0, 0, 1, 1),
        strict=True,
    ):
        pixels = IMAGES[image] / (255 if image else 1)
        values = np.asarray(resize(a, pixels.shape[:2]))
        expected = colours(values, pixels.mean(-1), "RdBu_r" if low < 0 else "inferno", low, high)
        np.testing.assert_allclose(panel.get_array(), expected, atol=1e-6)
    written = [t.get_text() for t in figure.findobj(Text) if t.get_text() == "logit"]
    assert len(written) == 1
    check_layout(figure)


def test_maps_that_show_nothing_do_not_widen_a_scale():
    flat, broken = np.full((2, 2), 9.0), np.array([[np.nan, 7.0]])
    maps = {"a": [POSITIVE[0], flat], "b": [broken, POSITIVE[1]], "c": [flat, broken]}
    figure = plot.grid(IMAGES, maps, scale="column")
    assert limits(figure) == [(0, 2), (0, 4)]  # nothing to show in c: no bar
    texts = [t.get_text() for ax in figure.axes for t in ax.texts]
    assert sorted(t for t in texts if t not in maps) == ["flat (9)"] * 2 + ["not finite"] * 2
    for scale in ("row", "all", "panel"):
        check_layout(plot.grid(IMAGES, maps, scale=scale, unit="logit"))
    only = plot.grid(IMAGES, {"c": [flat, broken]}, scale="all", unit="logit")
    assert not pictures(only)[1]


@pytest.mark.parametrize("width", [3.25, 5.5, 6.75])
@pytest.mark.parametrize("scale", SHARED)
def test_the_layout_holds_long_names_and_numbers(width, scale):
    maps = {
        "Expected Gradients (SmoothGrad)": [POSITIVE[0] * 1e-7, POSITIVE[1] * 1e-7],
        "Kernel SHAP": [SIGNED[0] * 1e9, SIGNED[1] * 1e9],
        "A_method_without_any_spaces": POSITIVE,
    }
    figure = plot.grid(
        [IMAGES[0], np.zeros((24, 16))],
        maps,
        labels=["Egyptian cat, tiger cat", "great white shark"],
        scores={name: [1 / 3, -1.234e-4] for name in maps},
        scale=scale,
        unit="logit per position",
        width=width,
    )
    assert figure.get_figwidth() == width
    check_layout(figure)


# --- layers


def test_layers_down_the_depth():
    maps = {f"layer{i}/conv": np.eye(2**i) * i for i in (4, 3, 2, 1)}
    figure = plot.layers(IMAGES[0], maps, scores={"layer3/conv": 0.25}, num_columns=3, unit="logit")
    shown, bars = pictures(figure)
    assert (len(shown), len(bars)) == (5, 4)  # the image and four layers in two rows of three
    assert [ax.get_title("left") for ax in shown] == ["", "16 × 16", "8 × 8", "4 × 4", "2 × 2"]
    assert [ax.get_title("right") for ax in shown] == ["", "", "0.250", "", ""]
    assert [ax.texts[0].get_text() for ax in shown[1:]] == list(maps)
    assert limits(figure) == [(0, 4), (0, 3), (0, 2), (0, 1)]
    check_layout(figure)
    shared = plot.layers(IMAGES[0], maps, scale="all", unit="logit")
    assert limits(shared) == [(0, 4)]
    assert {ax.images[0].get_clim() for ax in pictures(shared)[0][1:]} == {(0, 4)}
    check_layout(shared)


@pytest.mark.parametrize("scale", ["panel", "all"])
def test_layers_with_long_names(scale):
    maps = {f"features/denseblock{i}/denselayer1/conv2": RNG.normal(size=(4, 4)) for i in range(4)}
    maps["dead"] = np.zeros((2, 2))
    figure = plot.layers(IMAGES[1], maps, width=3.25, num_columns=3, scale=scale, unit="logit")
    assert any(t.get_text() == "flat (0)" for t in figure.findobj(Text))
    check_layout(figure)


def test_figures_and_subfigures_of_the_caller():
    whole = Figure((6, 3))
    left, right = whole.subfigures(1, 2)
    assert plot.grid(IMAGES, MAPS, scale="all", figure=left) is left
    assert plot.layers(IMAGES[0], {"a": POSITIVE[0]}, figure=right) is right
    check_layout(whole)
    for part in (left, right):
        frame = part.bbox
        for ax in part.axes:
            box = ax.get_window_extent()
            assert frame.x0 - 1 < box.x0 < box.x1 < frame.x1 + 1
            assert frame.y0 - 1 < box.y0 < box.y1 < frame.y1 + 1
    flat = Figure((6, 1))  # less high than wide: the pictures shrink
    plot.grid(IMAGES, MAPS, scale="all", figure=flat)
    check_layout(flat)


# --- What a paper gets


@pytest.fixture(scope="module")
def figure():
    return plot.grid(IMAGES, MAPS, labels=["tench", "cock"], scale="all", unit="logit")


def test_pdf_has_text_and_one_image_for_each_picture(figure, tmp_path):
    with matplotlib.rc_context({"pdf.compression": 0}):
        plot.save(figure, tmp_path / "a.pdf")
    data = (tmp_path / "a.pdf").read_bytes()
    assert data.startswith(b"%PDF")
    assert data.count(b"/Subtype /Image") == 6 + 1  # and one bar
    assert b"/FontFile2" in data  # TrueType
    # What is between the parentheses of each text object, in pieces with the kerning between them.
    blocks = re.findall(rb"BT\n(.*?)ET", data, re.DOTALL)
    texts = {b"".join(re.findall(rb"\((.*?)\)", b, re.DOTALL)).replace(b"\0", b"") for b in blocks}
    assert {b"Grad-CAM", b"tench", b"logit"} <= texts


def test_svg_has_text_and_one_image_for_each_picture(figure, tmp_path):
    plot.save(figure, tmp_path / "a.svg")
    data = (tmp_path / "a.svg").read_text("utf-8")
    assert data.count("<image") == 6 + 1  # and one bar
    for text in (">Grad-CAM</text>", ">tench</text>", ">logit</text>"):
        assert text in data


def test_png_has_the_width_of_print(figure, tmp_path):
    plot.save(figure, str(tmp_path / "a.png"))
    data = (tmp_path / "a.png").read_bytes()
    assert int.from_bytes(data[16:20], "big") == 5.5 * 300


def test_saving_changes_no_settings(figure, tmp_path):
    before = dict(matplotlib.rcParams)
    plot.save(figure, tmp_path / "a.svg")
    assert dict(matplotlib.rcParams) == before


def test_pyplot_is_not_loaded(tmp_path):
    code = f"""
import sys, numpy as np
from xaijax import plot
image, a = np.zeros((4, 4, 3)), np.eye(4)
plot.save(plot.grid([image], {{"a": [a]}}), r"{tmp_path / "a.pdf"}")
plot.save(plot.layers(image, {{"a": a}}), r"{tmp_path / "b.svg"}")
print("matplotlib.pyplot" in sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_layers_is_of_plot_alone():
    import xaijax

    assert xaijax.layers is not plot.layers


# --- Errors

IMAGE, A = np.zeros((4, 4, 3)), np.eye(2)


@pytest.mark.parametrize(
    ("draw", "error", "match"),
    [
        (
            lambda ax: plot.overlay(ax, IMAGE, np.zeros((2, 2, 3))),
            ValueError,
            "overlay: attribution must be a m",
        ),
        (
            lambda ax: plot.overlay(ax, IMAGE, np.zeros((0, 2))),
            ValueError,
            "overlay: attribution must be a map",
        ),
        (lambda ax: plot.overlay(ax, IMAGE, np.ones((2, 2)) * 1j), ValueError, "of complex128"),
        (
            lambda ax: plot.overlay(ax, IMAGE - 1, A),
            ValueError,
            r"image must be uint8, or floats in \[0, 1\]",
        ),
        (
            lambda ax: plot.overlay(ax, IMAGE * np.nan, A),
            ValueError,
            "image must be uint8, or floats",
        ),
        (lambda ax: plot.overlay(ax, np.zeros((3, 4, 4)), A), ValueError, r"got shape \(3, 4, 4\)"),
        (
            lambda ax: plot.overlay(ax, IMAGE, A, alpha=0),
            ValueError,
            "alpha must be above 0 and at most 1",
        ),
        (
            lambda ax: plot.overlay(ax, IMAGE, A, cmap="jett"),
            ValueError,
            "cmap must name .* Nearest: 'jet'",
        ),
        (
            lambda ax: plot.grid([], {"a": []}),
            ValueError,
            "grid: images must have at least one image",
        ),
        (
            lambda ax: plot.grid([IMAGE], {}),
            TypeError,
            "grid: maps must be a mapping .* got an empty",
        ),
        (
            lambda ax: plot.grid([IMAGE], [[A]]),
            TypeError,
            "grid: maps must be a mapping .* got list",
        ),
        (
            lambda ax: plot.grid([IMAGE], {"a": [A, A]}),
            ValueError,
            "of 'a' must have one entry .* got 2",
        ),
        (
            lambda ax: plot.grid([IMAGE], {"a": [np.zeros(3)]}),
            ValueError,
            r"maps\['a'\] must be a map",
        ),
        (
            lambda ax: plot.grid([IMAGE], {"a": [A]}, labels=["x", "y"]),
            ValueError,
            "labels must have one",
        ),
        (
            lambda ax: plot.grid([IMAGE], {"a": [A]}, scores={"b": [1]}),
            ValueError,
            "scores must be of the me",
        ),
        (
            lambda ax: plot.grid([IMAGE], {"a": [A]}, scale="rows"),
            ValueError,
            "scale must be 'panel', 'row'",
        ),
        (lambda ax: plot.layers(IMAGE, {}), TypeError, "layers: maps must be a mapping"),
        (
            lambda ax: plot.layers(IMAGE, {"a": A}, scale="row"),
            ValueError,
            "scale must be 'panel' or 'all'",
        ),
        (
            lambda ax: plot.layers(IMAGE, {"a": A}, scores={"b": 1}),
            ValueError,
            "scores must be of a",
        ),
        (
            lambda ax: plot.layers(IMAGE, {"a": A}, num_columns=0),
            ValueError,
            "num_columns must be at least 1",
        ),
    ],
)
def test_errors(draw, error, match):
    with pytest.raises(error, match=match):
        draw(Figure().subplots())
