"""Pictures of features: what is drawn are the numbers, in their order, and all text can be read."""

import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Polygon
from matplotlib.text import Text

from tests.test_plot import check_layout
from xaijax import plot
from xaijax.plot._features import GREY, NEGATIVE, POSITIVE, fit, shorten, write_near
from xaijax.plot._panel import text_width
from xaijax.plot._scatter import interacting
from xaijax.plot._swarm import crowd, lanes

MINUS = "\N{MINUS SIGN}"
RNG = np.random.default_rng(0)
PHI = np.array([0.5, -2.0, 1.0, 0.25, -0.125])
NAMES = ["age", "sex", "fare", "deck", "port"]
LONG = [f"the mean of column number {i}, in units per square metre" for i in range(30)]
ROWS = RNG.normal(size=(60, 5)) * [1, 5, 2, 0.5, 0.25]
X = RNG.normal(size=(60, 5))


def row_labels(ax):
    return [label.get_text() for label in ax.get_yticklabels()]


def arrows(ax):
    """From where to where the polygons of an axis go, those of full height."""
    corners = [patch.get_xy()[:-1] for patch in ax.patches if isinstance(patch, Polygon)]
    return [(xy[0, 0], xy[2 if len(xy) == 5 else 3, 0]) for xy in corners]


def colour(patch):
    return to_rgba(patch.get_facecolor(), 1)


def discs(ax, points):
    """The middles of points and their diameter, in pixels."""
    diameter = np.sqrt(points.get_sizes()[0]) * ax.figure.dpi / 72
    return ax.transData.transform(points.get_offsets()), diameter


def closest(middles):
    apart = np.linalg.norm(middles[:, None] - middles, axis=-1)
    return apart[~np.eye(len(middles), dtype=bool)].min()


# --- bar


def test_bars_of_one_explanation_are_its_numbers():
    ax = plot.bar(PHI, [34, "male", 7.25, True, -1], names=NAMES, unit="logit")
    assert row_labels(ax) == [
        "sex = male",
        "fare = 7.25",
        "age = 34",
        "deck = True",
        f"port = {MINUS}1",
    ]
    assert [bar.get_width() for bar in ax.patches] == [-2, 1, 0.5, 0.25, -0.125]
    signs = [NEGATIVE, POSITIVE, POSITIVE, POSITIVE, NEGATIVE]
    assert [colour(bar) for bar in ax.patches] == [to_rgba(c) for c in signs]
    written = [text.get_text() for text in ax.texts]
    assert written == [f"{MINUS}2.00", "+1.00", "+0.500", "+0.250", f"{MINUS}0.125"]
    assert ax.get_xlabel() == "attribution (logit)"
    assert ax.yaxis_inverted()  # the first row is on top
    check_layout(ax.figure)


def test_bars_of_many_explanations_are_mean_sizes():
    ax = plot.bar(ROWS, names=NAMES, max_features=2)
    sizes = np.abs(ROWS).mean(0)
    assert row_labels(ax) == ["sex", "fare", "3 other features"]
    widths = [bar.get_width() for bar in ax.patches]
    np.testing.assert_allclose(widths, [sizes[1], sizes[2], sizes[[0, 3, 4]].sum()])
    assert sum(widths) == pytest.approx(sizes.sum())
    assert ax.get_xlabel() == "mean |attribution|"


def test_one_feature_is_not_summed_up_alone():
    assert row_labels(plot.bar(PHI, names=NAMES, max_features=4))[-1] == "port"
    assert row_labels(plot.bar(PHI, names=NAMES, max_features=3))[-1] == "2 other features"


# --- waterfall


def test_waterfall_goes_from_the_base_value_to_the_score():
    ax = plot.waterfall(PHI, 10.0, names=NAMES, max_features=3)
    drawn = dict(zip(row_labels(ax), reversed(arrows(ax)), strict=True))
    assert list(drawn) == ["sex", "fare", "age", "2 other features"]
    # From below: 10 + (0.25 - 0.125), then age, fare and sex.
    expected = [(11.625, 9.625), (10.625, 11.625), (10.125, 10.625), (10, 10.125)]
    np.testing.assert_allclose(list(drawn.values()), expected)
    colours = [to_rgba(c) for c in (POSITIVE, POSITIVE, POSITIVE, NEGATIVE)]
    assert [colour(patch) for patch in ax.patches] == colours
    texts = {text.get_text(): text.get_position()[0] for text in ax.texts}
    assert texts["f(x) = 9.62"] == pytest.approx(9.625)
    assert texts["E[f(X)] = 10"] == 10
    check_layout(ax.figure)


# --- force


def test_arrows_of_force_meet_at_the_score():
    ax = plot.force(PHI, 10.0, names=NAMES)
    score = 10 + PHI.sum()
    up, down = arrows(ax)[:3], arrows(ax)[3:]
    np.testing.assert_allclose(up, [(8.625, 9.625), (8.125, 8.625), (7.875, 8.125)])
    np.testing.assert_allclose(down, [(11.625, 9.625), (11.75, 11.625)])
    assert up[0][1] == down[0][1] == score
    assert [t.get_text() for t in ax.texts[:5]] == ["fare", "age", "deck", "sex", "port"]
    check_layout(ax.figure)


def test_force_sums_up_each_side():
    ax = plot.force(np.array([5, -4, 0.5, 0.25, -0.5, -0.25, 0]), 0.0, max_features=2)
    assert [t.get_text() for t in ax.texts[:4]] == [
        "feature 0",
        "2 other features",
        "feature 1",
        "2 other features",
    ]
    lengths = [stop - start for start, stop in arrows(ax)]
    np.testing.assert_allclose(lengths, [5, 0.75, -4, -0.75])


# --- beeswarm and its swarm


@pytest.mark.parametrize("count", [1, 2, 300])
def test_lanes_are_apart_and_as_few_as_can_be(count):
    x = RNG.normal(size=count)
    x[: count // 4] = x[0]  # ties
    found = lanes(x, 0.05)
    for lane in np.unique(found):
        inside = np.sort(x[found == lane])
        assert (np.diff(inside) >= 0.05 * (1 - 1e-12)).all()
    most = max(np.count_nonzero((x > a - 0.05) & (x <= a)) for a in x)
    assert crowd(x, 0.05) == most
    assert len(np.unique(found)) <= most
    assert np.abs(found).max() <= most // 2


def test_points_of_a_beeswarm_do_not_overlap_and_keep_their_place():
    ax = plot.beeswarm(ROWS, X, names=NAMES, max_features=3)
    assert row_labels(ax) == ["sex", "fare", "age", "2 other features"]
    expected = [ROWS[:, 1], ROWS[:, 2], ROWS[:, 0], ROWS[:, [3, 4]].sum(1)]
    for number, (points, values) in enumerate(zip(ax.collections, expected, strict=True)):
        offsets = points.get_offsets()
        np.testing.assert_array_equal(offsets[:, 0], values)
        assert (np.abs(offsets[:, 1] - number) < 0.5).all()  # within its row
        middles, diameter = discs(ax, points)
        assert closest(middles) > diameter * (1 - 1e-6)
    check_layout(ax.figure)


def test_colours_of_a_beeswarm_are_the_values_of_features():
    x = X.copy()
    x[:, 1] = np.arange(60)
    x[3, 1], x[:, 2] = np.nan, 7
    ax = plot.beeswarm(ROWS, x, max_features=3)
    sex, fare, age, rest = (points.get_facecolors() for points in ax.collections)
    grey = to_rgba(GREY)
    assert tuple(sex[3]) == grey  # missing
    order = sex[[0, 15, 30, 45, 59], 0]
    assert (np.diff(order) > 0).all()  # ever more red
    assert {tuple(c) for c in fare} == {grey}  # constant
    assert {tuple(c) for c in rest} == {grey}
    assert len({tuple(c) for c in age}) > 20
    bar = ax.figure.axes[1]
    assert [t.get_text() for t in bar.get_yticklabels()] == ["low", "high"]
    assert bar.get_ylabel() == "feature value"
    assert len(plot.beeswarm(ROWS).figure.axes) == 1  # no values, no colours


def test_too_many_equal_points_stay_in_their_row():
    ax = plot.beeswarm(np.zeros((500, 2)))
    for number, points in enumerate(ax.collections):
        offsets = points.get_offsets()
        assert (offsets[:, 0] == 0).all()
        assert np.abs(offsets[:, 1] - number).max() < 0.5
        assert len(np.unique(offsets[:, 1])) == 500


# --- scatter


def test_scatter_draws_attribution_against_value():
    ax = plot.scatter(ROWS, X, "fare", names=NAMES, color="age", unit="logit")
    np.testing.assert_array_equal(
        ax.collections[0].get_offsets(), np.stack([X[:, 2], ROWS[:, 2]], 1)
    )
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("fare", "attribution of fare (logit)")
    red = ax.collections[0].get_facecolors()[np.argsort(X[:, 0]), 0]
    assert (np.diff(red) >= 0).all()
    assert ax.figure.axes[1].get_ylabel() == "age"
    check_layout(ax.figure)


def test_scatter_finds_the_feature_that_interacts():
    x = RNG.normal(size=(200, 4))
    phi = x * [3.0, 2, 1, 1]
    phi[:, 0] += 0.5 * x[:, 0] * x[:, 2]
    x[::7, 3] = np.nan
    x = np.column_stack([x, np.full(200, np.nan)])  # nothing is known
    phi = np.column_stack([phi, np.zeros(200)])
    assert interacting(1e200 * phi[:, 0], 1e200 * x, 0) == 2  # whose squares are infinite
    assert interacting(phi[:, 0], x, 0) == 2
    assert interacting(phi[:, 1], x, 1) is None
    assert plot.scatter(phi, x, 0).figure.axes[1].get_ylabel() == "feature 2"
    assert len(plot.scatter(phi, x, 1).figure.axes) == 1
    assert len(plot.scatter(phi, x, 0, color=None).figure.axes) == 1


def test_numbers_of_both_signs_colour_evenly_around_zero():
    ax = plot.scatter(ROWS, X, 0, color=ROWS[:, 1], color_label="age x sex")
    bar = ax.figure.axes[1]
    assert bar.get_ylabel() == "age x sex"
    low, high = bar.get_ylim()
    assert low == -high


def test_few_values_make_swarms():
    x = X.copy()
    x[:, 0] = np.arange(60) % 3
    ax = plot.scatter(ROWS, x, 0)
    offsets = ax.collections[0].get_offsets()
    np.testing.assert_array_equal(offsets[:, 1], ROWS[:, 0])
    np.testing.assert_array_equal(np.rint(offsets[:, 0]), x[:, 0])
    middles, diameter = discs(ax, ax.collections[0])
    assert closest(middles) > diameter * (1 - 1e-6)
    assert [bar.get_height() for bar in ax.patches] == [0.14] * 3  # 20 of each
    assert [bar.get_x() + bar.get_width() / 2 for bar in ax.patches] == [0, 1, 2]


# --- heatmap


@pytest.mark.parametrize("order", ["clusters", "output", "given"])
def test_heatmap_shows_each_row_under_its_score(order):
    ax = plot.heatmap(ROWS, 3.0, order=order, names=NAMES, max_features=2)
    shown = ax.images[0].get_array()[::16]
    assert row_labels(ax)[1:] == ["sex", "fare", "3 other features"]
    sums = shown.sum(0)  # of each column: nothing is left out
    np.testing.assert_allclose(np.sort(sums), np.sort(ROWS.sum(1)))
    line = ax.lines[0].get_ydata()  # upwards is negative
    np.testing.assert_allclose(np.argsort(-line), np.argsort(sums))
    base = ax.lines[1].get_ydata()[0]
    assert (line < base).tolist() == (sums > 0).tolist()
    if order == "output":
        assert (np.diff(sums) >= 0).all()
    if order == "given":
        np.testing.assert_allclose(shown[0], ROWS[:, 1])
    low, high = ax.images[0].get_clim()
    assert low == -high
    marks = {int(t.get_text()): t.get_position()[0] for t in ax.get_xticklabels()}
    assert list(marks) == list(marks.values()) == [0, 10, 20, 30, 40, 50, 60]
    check_layout(ax.figure)


def test_clusters_put_similar_rows_together():
    kind = np.arange(40) % 2
    phi = np.stack([5.0 * kind, 1 - kind], axis=1) + 0.1 * RNG.normal(size=(40, 2))
    ax = plot.heatmap(phi, 0.0)
    first = ax.images[0].get_array()[0] > 2.5
    assert np.count_nonzero(np.diff(first)) == 1


def test_a_row_far_from_all_others_does_not_take_their_colours():
    phi = np.ones((200, 2))
    phi[7] = 100
    ax = plot.heatmap(phi, 0.0)
    assert ax.images[0].get_clim()[1] == pytest.approx(1)
    assert ax.figure.axes[1].get_ylabel() == "attribution, clipped"


# --- All of them

ONE = {"bar": lambda phi, **k: plot.bar(phi, **k)}
ONE |= {
    "waterfall": lambda phi, **k: plot.waterfall(phi, 0.5, **k),
    "force": lambda phi, **k: plot.force(phi, 0.5, **k),
}
MANY = {
    "bar": lambda phi, **k: plot.bar(phi, **k),
    "beeswarm": lambda phi, **k: plot.beeswarm(phi, phi, **k),
    "heatmap": lambda phi, **k: plot.heatmap(phi, 0.5, **k),
    "scatter": lambda phi, **k: plot.scatter(phi, phi, 0, **k),
}
each_of_one = pytest.mark.parametrize("draw", ONE.values(), ids=ONE)
each_of_many = pytest.mark.parametrize("draw", MANY.values(), ids=MANY)


@each_of_one
def test_one_explanation_of_any_size_can_be_read(draw):
    for phi in ([0.0], [-3.0], [1e-9, -2e-9], np.full(3, 1e9), -np.abs(RNG.normal(size=12))):
        check_layout(draw(np.array(phi)).figure)
    phi, x = RNG.normal(size=30), [*RNG.normal(size=28) * 1e6, "a very long word " * 9, None]
    for width in (4.0, 5.5):
        check_layout(draw(phi, x=x, names=LONG, width=width).figure)


@each_of_many
def test_many_explanations_of_any_size_can_be_read(draw):
    for phi in (np.zeros((1, 1)), np.ones((3, 2)), -np.abs(ROWS) * 1e-9, ROWS[:2] * 1e9):
        check_layout(draw(phi).figure)
    check_layout(draw(RNG.normal(size=(40, 30)), names=LONG).figure)


@each_of_one
def test_names_are_not_read_as_formulas(draw):
    ax = draw(jnp.ones(2, jnp.bfloat16), names=["$x_1$ of a\nline", "a_b^$"])
    shown = {t.get_text() for t in ax.figure.findobj(Text) if "$" in t.get_text()}
    assert sorted(shown) == ["$x_1$ of a line", "a_b^$"]
    assert not any(t.get_parse_math() for t in ax.figure.findobj(Text) if "$" in t.get_text())
    check_layout(ax.figure)


@pytest.mark.parametrize("draw", [*ONE.values(), *MANY.values()])
def test_they_draw_on_an_axis_of_the_caller(draw):
    figure = Figure((5, 4), layout="constrained")
    ax = figure.subplots()
    phi = ROWS if draw in MANY.values() else PHI
    assert draw(phi, ax=ax) is ax
    figure.draw_without_rendering()


def test_pyplot_is_not_loaded_nor_statistics_before_they_are_needed():
    code = """
import sys, numpy as np
from xaijax import plot
print("scipy.stats" in sys.modules)
phi = np.eye(3)
plot.bar(phi), plot.beeswarm(phi, phi), plot.scatter(phi, phi, 0), plot.heatmap(phi, 0.0)
plot.waterfall(phi[0], 0.0), plot.force(phi[0], 0.0), plot.image(phi, phi)
scores = dict(zip("abc", phi))
plot.curves(scores), plot.critical_difference(scores)
plot.parallel(scores, metrics=["x", "y", "z"], better="lower")
print("matplotlib.pyplot" in sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "False"]


# --- What they share


def test_limits_leave_room_for_text_and_no_more():
    ends = [(0.0, 0.5, 0.0), (10.0, 0.0, 1.0), (4.0, 0.25, 0.25)]
    low, high = fit(ends, 4.0)
    unit = (high - low) / 4.0
    assert min(place - left * unit for place, left, _ in ends) == pytest.approx(low)
    assert max(place + right * unit for place, _, right in ends) == pytest.approx(high)
    assert (low, high) == pytest.approx((-2, 14))  # 10 between, on 2.5 inches


def test_limits_of_one_place_and_of_nearly_one():
    assert fit([(5.0, 0.5, 0.5)], 4.0) == pytest.approx((4.75, 5.25))
    assert fit([(0.0, 0.5, 0.5)], 4.0) == (-0.5, 0.5)
    low, high = fit([(1e16, 0.5, 0.5), (1e16 + 2, 0.5, 0.5)], 4.0)
    assert low < 1e16 < 1e16 + 2 < high


def test_shortened_texts_keep_both_ends():
    text = "mean of the first column, in metres"
    short = shorten(text, 1.0)
    first, last = short.split("…")
    assert text.startswith(first)
    assert text.endswith(last)
    assert first
    assert last
    assert 0.8 < text_width(short, 8) <= 1.0
    assert shorten(text, 9.0) == text
    assert text_width(shorten("x" * 100_000, 1.0), 8) <= 1.0


@pytest.mark.parametrize(
    ("value", "spread", "text"),
    [
        (10.0, 1.0, "10"),
        (9.625, 2.0, "9.62"),
        (12345.678, 0.1, "12345.678"),
        (4e-6, 0.7, "0"),
        (-0.0, 1.0, "0"),
        (-2.02e-5, 2e-5, f"{MINUS}2.02e{MINUS}5"),
        (600.0, 3000.0, "600"),
        (1e9, 1e9, "1e9"),
        (0.123456, 0.0, "0.1235"),
    ],
)
def test_numbers_in_the_digits_that_matter(value, spread, text):
    assert write_near(value, spread) == text


# --- Errors


@pytest.mark.parametrize(
    ("draw", "error", "match"),
    [
        (lambda: plot.bar(np.zeros(0)), ValueError, r"bar: attribution must be numbers .*\(0,\)"),
        (lambda: plot.bar(np.zeros((3, 0))), ValueError, "attribution must be numbers"),
        (lambda: plot.bar(np.zeros((2, 2, 2))), ValueError, r"got shape \(2, 2, 2\)"),
        (lambda: plot.bar(["a"]), ValueError, "attribution must be numbers"),
        (lambda: plot.bar([1, np.nan]), ValueError, "must be finite, got 1 of 2 values NaN or inf"),
        (lambda: plot.bar(ROWS, X), ValueError, "x must be None for several rows.*beeswarm"),
        (
            lambda: plot.bar(PHI, PHI[:2]),
            ValueError,
            r"x must have the shape .*\(5,\), got .*\(2,\)",
        ),
        (lambda: plot.bar(PHI, names=NAMES[:2]), ValueError, "names must have one .* 5 .* 2 names"),
        (lambda: plot.bar(PHI, names="abcde"), TypeError, "names must be a sequence of names"),
        (lambda: plot.bar(PHI, max_features=0), ValueError, "max_features must be at least 1"),
        (lambda: plot.bar(PHI, max_features=2.5), TypeError, "max_features must be a Python int"),
        (
            lambda: plot.waterfall(ROWS, 0),
            ValueError,
            r"waterfall: .*Take one row: attribution\[0\]",
        ),
        (lambda: plot.waterfall(PHI, [1, 2]), ValueError, r"base_value must be one number.*\(2,\)"),
        (lambda: plot.waterfall(PHI, np.inf), ValueError, "base_value must be finite"),
        (lambda: plot.waterfall(PHI, "0"), ValueError, "base_value must be one number"),
        (lambda: plot.bar(PHI, width=1), ValueError, r"width must be at least 1\.\d inches, got 1"),
        (lambda: plot.force(ROWS, 0), ValueError, "force: attribution must be numbers"),
        (lambda: plot.beeswarm(PHI), ValueError, "beeswarm: .* see xaijax.plot.waterfall"),
        (lambda: plot.beeswarm(ROWS, X[:, :2]), ValueError, r"x must have the shape \(60, 5\)"),
        (lambda: plot.beeswarm(ROWS, X / 0), ValueError, "x must be finite or NaN, got"),
        (
            lambda: plot.beeswarm(ROWS, X.astype(str) + "a"),
            ValueError,
            "x must be numbers, .*Number",
        ),
        (lambda: plot.beeswarm(np.zeros((10_001, 1))), ValueError, "at most 10000 rows, got 10001"),
        (
            lambda: plot.scatter(ROWS, X, "agee", names=NAMES),
            ValueError,
            "feature .*Nearest: 'age'",
        ),
        (lambda: plot.scatter(ROWS, X, 5), ValueError, r"feature must be in \[0, 5\), got 5"),
        (
            lambda: plot.scatter(ROWS, X, 1.5),
            TypeError,
            "feature must be a feature's name or number",
        ),
        (
            lambda: plot.scatter(ROWS, X, "a", names=["a"] * 5),
            ValueError,
            "name of 5.*Give its num",
        ),
        (
            lambda: plot.scatter(ROWS, X, 0, color=X),
            ValueError,
            r"color must have the shape \(60,\)",
        ),
        (lambda: plot.scatter(ROWS, X * np.nan, 0), ValueError, "60 missing values of 'feature 0'"),
        (lambda: plot.heatmap(ROWS, 0, order="rows"), ValueError, "order must be 'clusters', 'out"),
        (
            lambda: plot.heatmap(np.ones((5001, 1)), 0),
            ValueError,
            "'given' for more than 5000 rows",
        ),
        (lambda: plot.heatmap(PHI, 0), ValueError, "heatmap: attribution must be numbers"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_errors(draw, error, match):
    with pytest.raises(error, match=match):
        draw()
