"""Pictures of several methods: lines and bars are the numbers, the tests are the papers', and all text can be read."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.text import Text
from scipy import stats

from tests.test_plot import check_layout
from xaijax import plot
from xaijax.plot._methods import COLOURS, make_styles, spread, write_parts

RNG = np.random.default_rng(0)
MINUS = "\N{MINUS SIGN}"
LONG = [f"an explainer of number {i}, with all of its settings" for i in range(12)]
ONE = {"LIME": [1.0, 0.5, 0.0], "random": [1.0, 0.75, 0.5]}
TWO = {"LIME": np.array([[1.0, 0.5, 0.0], [1.0, 0.0, 0.0]]), "random": [1.0, 0.75, 0.5]}


def lines(ax, count):
    """The first lines of an axis, those of the methods."""
    return [(line.get_xdata(), line.get_ydata()) for line in ax.lines[:count]]


def heights(ax, names):
    """Where names stand on the figure, upwards in pixels."""
    ax.figure.draw_without_rendering()
    shown = {text.get_text(): text for text in ax.texts}
    return [shown[name].get_window_extent().y0 for name in names]


def check_slanted(figure):
    """As `check_layout`, where boxes around slanted texts say nothing: these are a line's height apart."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # what is hidden keeps its room
    slanted = [t for t in figure.findobj(Text) if t.get_text() and t.get_rotation() % 90]
    for text in slanted:
        text.set_visible(False)
    check_layout(figure)
    starts = {}
    for text in slanted:
        text.set_visible(True)
        box, frame = text.get_window_extent(), figure.bbox
        assert frame.x0 <= box.x0 < box.x1 <= frame.x1, text.get_text()
        assert frame.y0 <= box.y0 < box.y1 <= frame.y1, text.get_text()
        start = text.axes.transData.transform(text.xy)[0] / figure.dpi
        starts.setdefault((text.axes, text.get_rotation()), []).append(start)
    for (_, angle), places in starts.items():
        assert (np.diff(sorted(places)) * np.sin(np.radians(angle)) > 8 / 72).all()


def colour(artist):
    return to_rgba(artist.get_color())


# --- curves


def test_curves_are_means_over_examples():
    ax = plot.curves(TWO, x=[0, 0.5, 1], x_label="share", y_label="probability")
    (x, lime), (_, random) = lines(ax, 2)
    np.testing.assert_array_equal(x, [0, 0.5, 1])
    np.testing.assert_array_equal(lime, [1, 0.25, 0])
    np.testing.assert_array_equal(random, [1, 0.75, 0.5])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("share", "probability")
    check_layout(ax.figure)


def test_names_are_laid_out_for_the_limits_that_are_asked_for():
    ax = plot.curves(TWO, y_limits=(-1, 3))
    assert ax.get_ylim() == (-1, 3)
    # Far enough apart there for each name to stand at its own curve's end.
    names = [text for text in ax.texts if text.get_text() in TWO]
    heights = [
        ax.transData.inverted().transform(t.get_window_extent().get_points())[:, 1].mean()
        for t in names
    ]
    ends = [np.atleast_2d(TWO[t.get_text()])[:, -1].mean() for t in names]
    assert heights == pytest.approx(ends, abs=0.15)
    check_layout(ax.figure)


def test_the_band_is_the_t_interval_of_the_mean():
    rows = RNG.normal(size=(7, 4))
    ax = plot.curves({"LIME": rows, "RISE": rows[0]})
    (band,) = ax.collections  # one example has none
    low, high = stats.t.interval(0.95, 6, rows.mean(0), rows.std(0, ddof=1) / np.sqrt(7))
    corners = band.get_paths()[0].vertices
    for at, bottom, top in zip(range(4), low, high, strict=True):
        ends = corners[corners[:, 0] == at, 1]
        assert (ends.min(), ends.max()) == pytest.approx((bottom, top))
    assert to_rgba(band.get_facecolor()[0], 1) == to_rgba(COLOURS[0])


@pytest.mark.parametrize(
    ("sizes", "note"),
    [
        ((1,), "n = 1 example"),
        ((5, 5), "mean and its 95 % interval, n = 5 examples"),
        ((1, 5), "mean and its 95 % interval, n = 1 to 5 examples"),
    ],
)
def test_the_note_says_how_many_examples(sizes, note):
    drawn = {f"method {i}": RNG.normal(size=(n, 3)) for i, n in enumerate(sizes)}
    assert plot.curves(drawn).get_title("left") == note


def test_the_note_names_the_unit_of_replication():
    ax = plot.curves({"a": np.ones((3, 4))}, unit="networks")
    assert ax.get_title("left") == "mean and its 95 % interval, n = 3 networks"


def test_missing_numbers_are_left_out_or_gaps():
    rows = np.array([[1.0, 2, 3, 4], [3, np.nan, 5, np.nan], [5, np.nan, 7, np.nan]])
    ax = plot.curves({"LIME": rows, "RISE": [1.0, np.nan, 2, np.nan]})
    (_, lime), (_, rise) = lines(ax, 2)
    np.testing.assert_array_equal(lime, [3, 2, 5, 4])
    np.testing.assert_array_equal(rise, [1, np.nan, 2, np.nan])
    note = "mean and its 95 % interval, n = 1 to 3 examples, those with NaN left out"
    assert ax.get_title("left") == note
    # A name whose line does not reach the end has no leader, and stands below.
    assert len([text for text in ax.texts if not text.get_text()]) == 1
    low, high = heights(ax, ["RISE", "LIME"])
    assert low < high
    check_layout(ax.figure)
    empty = plot.curves({"LIME": np.full((2, 3), np.nan)})
    assert empty.get_title("left") == "n = 0 examples, those with NaN left out"
    check_layout(empty.figure)


def test_points_that_no_line_leads_to_have_a_marker():
    y = np.sin(np.arange(30.0))
    y[[4, 6, 29 - 1]] = np.nan
    line = plot.curves({"LIME": y}).lines[0]
    assert line.get_markevery() == [5, 29]


def test_layers_are_named_upright_where_they_have_no_room():
    ax = plot.curves({"LIME": np.arange(3.0)}, x=["logits", "dense", "conv"])
    ticks = ax.get_xticklabels()
    assert [tick.get_text() for tick in ticks] == ["logits", "dense", "conv"]
    assert [tick.get_position()[0] for tick in ticks] == [0, 1, 2]
    assert {tick.get_rotation() for tick in ticks} == {0}
    many = [f"blocks/{i}/conv" for i in range(40)]
    ax = plot.curves({"LIME": np.arange(40.0)}, x=many, x_label="randomised down to")
    ticks = ax.get_xticklabels()
    assert {tick.get_rotation() for tick in ticks} == {90}
    assert {tick.get_text(): tick.get_position()[0] for tick in ticks}.items() <= {
        name: i for i, name in enumerate(many)
    }.items()
    check_layout(ax.figure)


def test_controls_are_grey_and_dashed():
    for ax in (
        plot.curves(TWO, controls=["random"]),
        parallel(ONE, ["x", "y", "z"], controls=["random"]),
    ):
        lime, random = ax.lines[:2]
        assert colour(lime) == to_rgba(COLOURS[0])
        assert not lime.is_dashed()
        assert len(set(colour(random)[:3])) == 1
        assert random.is_dashed()


# --- parallel


def test_heights_of_parallel_axes_go_from_the_worst_to_the_best():
    values = {"a": [0.1, 10.0, 5.0], "b": [0.2, 30.0, 1.0], "c": [0.4, 20.0, 3.0]}
    ax = plot.parallel(values, metrics=["del", "ins", "size"], better=["lower", "higher", None])
    drawn = [y for _, y in lines(ax, 3)]
    expected = [[1, 0, 1], [2 / 3, 1, 0], [0, 0.5, 0.5]]
    np.testing.assert_allclose(drawn, expected, atol=1e-12)
    texts = {(t.get_text(), *t.xy) for t in ax.texts if hasattr(t, "xy") and t.get_text()}
    ends = {("0.1", 0, 1), ("0.4", 0, 0), ("30", 1, 1), ("10", 1, 0), ("5", 2, 1), ("1", 2, 0)}
    assert texts == ends | {("del ↓", 0, 1), ("ins ↑", 1, 1), ("size", 2, 1)}
    check_layout(ax.figure)


def test_a_metric_by_which_all_are_the_same_is_in_the_middle():
    values = {"a": [1.0, 0.5, np.nan], "b": [2.0, 0.5, np.nan]}
    ax = plot.parallel(values, metrics=["x", "y", "z"], better="higher")
    np.testing.assert_array_equal(
        [y for _, y in lines(ax, 2)], [[0, 0.5, np.nan], [1, 0.5, np.nan]]
    )
    middle = {t.get_text(): t.xy for t in ax.texts if getattr(t, "xy", (0, 0))[1] == 0.5}
    assert middle == {"0.5": (1, 0.5), "NaN": (2, 0.5)}
    assert not [t for t in ax.texts if not t.get_text()]  # no line reaches the end
    check_layout(ax.figure)


def test_names_are_in_the_order_of_the_ends_of_lines():
    values = {name: [0.0, y] for name, y in zip("abcd", (0.5, 0.49, 1.0, 0.0), strict=True)}
    ax = plot.parallel(values, metrics=["x", "y"], better="higher")
    at = heights(ax, "cabd")
    assert at == sorted(at, reverse=True)
    leaders = [t for t in ax.texts if not t.get_text()]
    np.testing.assert_allclose([t.xy for t in leaders], [(1, 0.5), (1, 0.49), (1, 1), (1, 0)])


# --- critical difference

# Demšar 2006, table 6: the areas under the ROC curve of four variants of C4.5 on 14 data sets. The table has
# 0.975 twice in its 13th row, with the ranks 2 and 3: they are equal only as they are rounded.
NAMES = ["C4.5", "C4.5+m", "C4.5+cf", "C4.5+m+cf"]
AUC = np.array(
    [
        [0.763, 0.768, 0.771, 0.798],
        [0.599, 0.591, 0.590, 0.569],
        [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657],
        [0.882, 0.888, 0.886, 0.898],
        [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685],
        [0.583, 0.583, 0.563, 0.625],
        [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000],
        [0.940, 0.962, 0.965, 0.962],
        [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.9751, 0.975],
        [0.957, 0.978, 0.946, 0.970],
    ]
)
DEMSAR = dict(zip(NAMES, AUC.T, strict=True))


def test_the_example_of_the_paper():
    found = plot.compare_ranks(DEMSAR)
    np.testing.assert_allclose(found.mean_ranks, [3.143, 2.000, 2.893, 1.964], atol=5e-4)
    assert (found.num_examples, found.num_left_out) == (14, 0)
    assert found.critical_difference == pytest.approx(1.25, abs=5e-3)
    # The paper's 9.28 is without the correction for ties: of 4, 2, 2 and 2 scores in 14 rows of 4.
    ties = 1 - ((4**3 - 4) + 3 * (2**3 - 2)) / (14 * (4**3 - 4))
    assert found.chi2 * ties == pytest.approx(9.28, abs=5e-3)
    assert found.p_value == pytest.approx(stats.chi2.sf(found.chi2, 3))
    # At 0.05 no two differ; at 0.10 (CD = 1.12) C4.5 is worse than both with m.
    best = ("C4.5+m+cf", "C4.5+m", "C4.5+cf")
    assert found.groups == ((*best, "C4.5"),)
    found = plot.compare_ranks(DEMSAR, alpha=0.10)
    assert found.critical_difference == pytest.approx(1.12, abs=5e-3)
    assert found.groups == (best, ("C4.5+cf", "C4.5"))


@pytest.mark.parametrize(
    ("k", "q"), [(3, 2.343), (4, 2.569), (5, 2.728), (6, 2.850), (7, 2.949), (10, 3.164)]
)
def test_critical_values_of_the_paper(k, q):
    """Demšar 2006, table 5 (a), at 0.05."""
    found = plot.compare_ranks({f"method {i}": np.arange(6.0) + i for i in range(k)})
    assert found.critical_difference == pytest.approx(q * (k * (k + 1) / 36) ** 0.5, rel=5e-4)


def test_ranks_without_ties_by_hand():
    scores = {"a": [3.0, 3, 1], "b": [2.0, 2, 3], "c": [1.0, 1, 2]}
    found = plot.compare_ranks(scores)
    np.testing.assert_allclose(found.mean_ranks, [5 / 3, 5 / 3, 8 / 3])
    # 12 * 3 / (3 * 4) * (25/9 + 25/9 + 64/9 - 3 * 16 / 4)
    assert found.chi2 == pytest.approx(2)
    assert found.p_value == pytest.approx(np.exp(-1))  # chi-square with 2 degrees of freedom
    lower = plot.compare_ranks(scores, better="lower")
    np.testing.assert_allclose(lower.mean_ranks, 4 - found.mean_ranks)


def test_hits_and_misses_are_corrected_for_ties():
    hits = RNG.uniform(size=(40, 3)) < [0.9, 0.5, 0.2]
    found = plot.compare_ranks(dict(zip("abc", hits.T, strict=True)))
    # Of hits and misses Friedman's test is Cochran's Q.
    columns, rows = hits.sum(0), hits.sum(1)
    q = 2 * (3 * (columns**2).sum() - columns.sum() ** 2) / (3 * rows - rows**2).sum()
    assert found.chi2 == pytest.approx(q)


def test_groups_are_the_largest_that_do_not_differ():
    # Mean ranks 1, 2, ..., 6, and CD = 2.850 sqrt(6 * 7 / (6 N)): 1.94 for N = 15, 0.95 for N = 63.
    scores = {f"m{i}": np.full(15, -1.0 * i) for i in range(6)}
    assert plot.compare_ranks(scores).groups == tuple((f"m{i}", f"m{i + 1}") for i in range(5))
    scores = {name: np.repeat(a, 5)[:63] for name, a in scores.items()}
    assert plot.compare_ranks(scores).groups == ()


def test_methods_that_are_all_the_same_do_not_differ():
    found = plot.compare_ranks(dict.fromkeys("abc", np.ones(5)))
    assert (found.chi2, found.p_value) == (0, 1)
    np.testing.assert_array_equal(found.mean_ranks, 2)
    assert found.groups == (("a", "b", "c"),)


def test_examples_with_nan_are_left_out():
    scores = {name: np.append(a, [9.0, np.nan]) for name, a in DEMSAR.items()}
    scores["C4.5"][-2] = np.nan
    found, expected = plot.compare_ranks(scores), plot.compare_ranks(DEMSAR)
    assert found.num_left_out == 2
    np.testing.assert_array_equal(found.mean_ranks, expected.mean_ranks)
    assert found.chi2 == expected.chi2
    ax = plot.critical_difference(scores)
    assert "n = 14 examples, 2 with NaN left out, Friedman p = 0.017" in ax.texts[-1].get_text()


def test_the_diagram_shows_the_ranks():
    ax = plot.critical_difference(DEMSAR, alpha=0.10, controls=["C4.5"])
    texts = {t.get_text(): t for t in ax.texts}
    drops = {}
    for line in ax.lines:
        if len(line.get_xdata()) == 3:  # down from a rank, and to the name
            (rank, _, end), (top, *_, y) = line.get_xdata(), line.get_ydata()
            assert top == 0
            drops[end, y] = rank, line.is_dashed()
    found = plot.compare_ranks(DEMSAR)
    for name, rank in zip(NAMES, found.mean_ranks, strict=True):
        drawn, dashed = drops.pop(texts[f"{name}  {rank:.2f}"].xy)
        assert drawn == rank
        assert dashed == (name == "C4.5")
    assert not drops
    low, high = ax.get_xlim()
    assert low > high  # the best is on the right
    sides = {
        name: texts[f"{name}  {rank:.2f}"].xy[0] > 4
        for name, rank in zip(NAMES, found.mean_ranks, strict=True)
    }
    assert sides == {"C4.5": True, "C4.5+m": False, "C4.5+cf": True, "C4.5+m+cf": False}
    # Two bars, one under the other, reach a little beyond the ranks that they join.
    bars = sorted(
        (line.get_ydata()[0], *sorted(line.get_xdata()))
        for line in ax.lines
        if line.get_linewidth() > 2
    )
    assert len(bars) == 2
    assert bars[0][0] < bars[1][0]
    reach = found.mean_ranks.min() - bars[0][1]
    assert 0 < reach < 0.1
    expected = [(1.9643 - reach, 2.8929 + reach), (2.8929 - reach, 3.1429 + reach)]
    np.testing.assert_allclose([bar[1:] for bar in bars], expected, atol=1e-4)
    note = "n = 14 examples, Friedman p = 0.017, Nemenyi CD = 1.12 at α = 0.1"
    assert texts.keys() >= {note, "CD = 1.12", "1", "2", "3", "4"}
    (ruler,) = [line for line in ax.lines if len(line.get_xdata()) == 6]
    assert np.ptp(ruler.get_xdata()) == pytest.approx(1.12, abs=5e-3)
    check_layout(ax.figure)


# --- All of them

DRAW = {
    "curves": lambda rows, **k: plot.curves(rows, **k),
    "parallel": lambda rows, **k: plot.parallel(
        {name: a[0] for name, a in rows.items()},
        metrics=[f"metric {i}" for i in range(6)],
        better="lower",
        **k,
    ),
    "critical_difference": lambda rows, **k: plot.critical_difference(
        {name: np.ravel(a) for name, a in rows.items()}, **k
    ),
}
each = pytest.mark.parametrize("draw", DRAW.values(), ids=DRAW)


@each
@pytest.mark.parametrize(("count", "scale", "width"), [(3, 1e-9, 4.0), (12, 1.0, 5.5), (4, 1e9, 7)])
def test_any_number_of_methods_can_be_read(draw, count, scale, width):
    rows = {name: scale * RNG.normal(size=(5, 6)) for name in LONG[:count]}
    check_slanted(draw(rows, width=width, controls=LONG[:1]).figure)


@pytest.mark.parametrize("count", [1, 10, 20])
def test_any_number_of_metrics_can_be_read(count):
    values = {name: RNG.normal(size=count) * 1e-6 for name in "ab"}
    names = [f"a longer name of metric {i}" for i in range(count)]
    ax = plot.parallel(values, metrics=names, better="lower")
    check_slanted(ax.figure)
    first, *_, last = ax.get_lines()[0].get_xdata()[[0, -1]]
    assert (first, last) == (0, count - 1)


@each
def test_names_are_not_read_as_formulas(draw):
    rows = {
        name: jnp.asarray(RNG.normal(size=(2, 6)), jnp.bfloat16) for name in ("$x_1$", "a_b^$", "c")
    }
    ax = draw(rows)
    shown = [t for t in ax.texts if "$" in t.get_text()]
    assert len(shown) == 2
    assert not any(t.get_parse_math() for t in shown)
    check_layout(ax.figure)


@each
def test_they_draw_on_an_axis_of_the_caller(draw):
    figure = Figure((9, 4), layout="constrained")
    ax, other = figure.subplots(1, 2)
    rows = {name: RNG.normal(size=(5, 6)) for name in LONG[:4]}
    assert draw(rows, ax=ax) is ax
    draw(rows, ax=other)
    check_slanted(figure)


# --- What they share


def test_no_two_of_thirty_methods_look_the_same():
    names = [str(i) for i in range(30)]
    styles = make_styles("", names, names[-3:])
    assert len({(s.color, s.marker, s.dashes) for s in styles.values()}) == 30


@given(st.lists(st.floats(-1, 2), min_size=1, max_size=9), st.sampled_from([0.01, 0.1, 0.3]))
def test_spread_places_keep_apart_and_in_order(places, apart):
    places = np.array(places)
    moved = spread(places, apart, 0.0, 1.0)
    order = np.argsort(moved)
    assert (np.diff(moved[order]) >= apart * (1 - 1e-9)).all()
    assert (np.diff(places[order]) >= 0).all()
    beyond = max(apart * (len(places) - 1) - 1, 0) / 2
    assert moved.min() >= -beyond - 1e-9
    assert moved.max() <= 1 + beyond + 1e-9


def test_spread_places_move_as_little_as_can_be():
    np.testing.assert_allclose(spread(np.array([0.5, 0.9]), 0.1, 0, 1), [0.5, 0.9])
    np.testing.assert_allclose(spread(np.array([0.5, 0.5, 0.9]), 0.1, 0, 1), [0.55, 0.45, 0.9])
    np.testing.assert_allclose(spread(np.array([0.0, 0.02, 0.14]), 0.1, 0, 1), [0, 0.1, 0.2])
    np.testing.assert_allclose(spread(np.array([-np.inf, 0.5]), 0.1, 0, 1), [0, 0.5])


def test_statements_are_not_broken():
    parts = ["n = 5", "p = 0.05", "CD = 1.5"]
    assert write_parts(parts, 9.0) == ["n = 5, p = 0.05, CD = 1.5"]
    assert write_parts(parts, 1.0) == ["n = 5, p = 0.05,", "CD = 1.5"]
    assert write_parts(parts, 0.1) == ["n = 5,", "p = 0.05,", "CD = 1.5"]


# --- Errors

VALUES = {"a": [1.0, 2.0], "b": [2.0, 1.0]}
THREE = dict(zip("abc", RNG.normal(size=(3, 4)), strict=True))


def parallel(values=VALUES, metrics=("x", "y"), better="lower", **settings):
    return plot.parallel(values, metrics=metrics, better=better, **settings)


@pytest.mark.parametrize(
    ("draw", "error", "match"),
    [
        (lambda: plot.curves([1.0]), TypeError, "curves: curves must be a mapping .*, got list"),
        (lambda: plot.curves({}), TypeError, "curves must be a mapping .*, got an empty mapping"),
        (
            lambda: plot.curves({"a": 1.0}),
            ValueError,
            r"curves\['a'\] must be numbers \(num_examples, num_points\) or \(num_points,\)",
        ),
        (lambda: plot.curves({"a": np.ones((0, 3))}), ValueError, r"not empty, got shape \(0, 3\)"),
        (lambda: plot.curves({"a": ["x"]}), ValueError, "must be numbers"),
        (lambda: plot.curves({"a": [1, np.inf]}), ValueError, "must be finite or NaN, got 1 inf"),
        (
            lambda: plot.curves({"a": np.ones(3), "b": np.ones(4)}),
            ValueError,
            r"curves\['b'\] must have as many numbers as curves\['a'\], 3, got 4",
        ),
        (lambda: plot.curves(TWO, x=[0, 1]), ValueError, r"x must have the shape \(3,\)"),
        (lambda: plot.curves(TWO, x=[0, 2, 1]), ValueError, "x must increase, got .*Sort"),
        (lambda: plot.curves(TWO, x=[0, 1, np.nan]), ValueError, "x must increase"),
        (
            lambda: plot.curves(TWO, y_limits=(1, 0)),
            ValueError,
            r"y_limits must increase, got \[1.0, 0.0\]",
        ),
        (lambda: plot.curves(TWO, y_limits=(0, np.nan)), ValueError, "y_limits must increase"),
        (lambda: plot.curves(TWO, x=["a"]), ValueError, "x must have one name for each of the 3 p"),
        (lambda: plot.curves(TWO, x="abc"), TypeError, "x must be numbers or names of points"),
        (
            lambda: plot.curves(TWO, controls="LIME"),
            TypeError,
            "controls must be a sequence of nam",
        ),
        (
            lambda: plot.curves(TWO, controls=["lime"]),
            ValueError,
            "controls must be names of methods, got 'lime'",
        ),
        (lambda: plot.curves(TWO, controls=["randon"]), ValueError, "Nearest: 'random'"),
        (lambda: plot.curves(TWO, width=1), ValueError, "width must be at least"),
        (lambda: parallel({"a": np.ones((2, 2))}), ValueError, r"parallel: values\['a'\] must be"),
        (
            lambda: parallel(metrics=["x"]),
            ValueError,
            "metrics must have one name for each of the 2",
        ),
        (
            lambda: parallel(metrics="xy"),
            TypeError,
            "metrics must be a sequence of names, got 'xy'",
        ),
        (
            lambda: parallel(better=["lower"]),
            ValueError,
            "better must have one entry for each of th",
        ),
        (lambda: parallel(better="up"), ValueError, "better must be 'higher' or 'lower', got 'up'"),
        (
            lambda: plot.critical_difference(VALUES),
            ValueError,
            "critical_difference: scores must have at least 3 methods, got 2. For two see scipy",
        ),
        (
            lambda: plot.compare_ranks({name: a[:1] for name, a in THREE.items()}),
            ValueError,
            "compare_ranks: scores must have at least 2 examples, got 1, with 0 left out",
        ),
        (
            lambda: plot.compare_ranks(THREE | {"a": [1, np.nan, np.nan, np.nan]}),
            ValueError,
            "at least 2 examples, got 1, with 3 left out for a NaN",
        ),
        (lambda: plot.compare_ranks(THREE | {"b": [1, 2]}), ValueError, "as many numbers as"),
        (lambda: plot.compare_ranks(THREE | {"b": [1, 2, 3, np.inf]}), ValueError, "finite or NaN"),
        (lambda: plot.compare_ranks(THREE, better=None), ValueError, "better must be 'higher' or"),
        (lambda: plot.compare_ranks(THREE, alpha=5), ValueError, "alpha must be between 0 and 1"),
        (
            lambda: plot.critical_difference(THREE, controls=["d"]),
            ValueError,
            "controls must be names of methods, got 'd'",
        ),
    ],
)
def test_errors(draw, error, match):
    with pytest.raises(error, match=match):
        draw()
