"""The table of explainers and metrics, and what is said of it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import ndimage, stats

import xaijax
from tests.cases import FIRST, cnn, image, mlp, row
from xaijax import metrics
from xaijax.metrics._controls import controls_of

F, KEY = cnn(FIRST), jax.random.key(0)
XS = jnp.stack([image(seed) for seed in range(5)])
TARGETS = jnp.array([0, 1, 2, 3, 1])
MASKS = jnp.zeros((5, 8, 8), bool).at[:, 2:5, 1:6].set(True)
EXPLAINERS = {
    "Grad-CAM": xaijax.bind(xaijax.grad_cam, F),
    "gradient": xaijax.bind(xaijax.saliency, F),
    "RISE": xaijax.bind(xaijax.rise, F, num_samples=10, grid_size=3),
}
METRICS = {
    "deletion": functools.partial(metrics.deletion_auc, num_steps=8, baseline=0.25),
    "pointing": metrics.pointing_game,
    "sensitivity": functools.partial(metrics.max_sensitivity, num_samples=3),
    "sparseness": metrics.sparseness,
}


def evaluate(explainers=EXPLAINERS, judges=METRICS, f=F, xs=XS, targets=TARGETS, key=KEY, **rest):
    return metrics.evaluate(explainers, judges, f, xs, targets, key, **{"masks": MASKS, **rest})


@pytest.fixture(scope="module")
def found():
    return evaluate()


def cell(table, explainer, metric):
    rows = table[(table.explainer == explainer) & (table.metric == metric)]
    return rows.sort_values("example").value.to_numpy()


# --- evaluate


def test_table_is_tidy_and_complete(found):
    names = [*EXPLAINERS, "random", "input magnitude", "edges", "centre", "oracle"]
    table = found.table
    assert list(dict.fromkeys(table.explainer)) == names
    assert len(table) == len(names) * len(METRICS) * len(XS)
    assert not table.duplicated(["explainer", "metric", "example"]).any()
    assert set(table[table.control].explainer) == set(names) - set(EXPLAINERS)
    kinds = table.drop_duplicates("metric").set_index("metric")
    assert kinds.better.to_dict() == {
        "deletion": "lower",
        "pointing": "higher",
        "sensitivity": "lower",
        "sparseness": "higher",
    }
    missing = table[table.value.isna()]
    assert set(missing.explainer) == {"oracle"}
    assert set(missing.metric) == {"sensitivity"}


def test_numbers_are_those_of_the_metrics_on_the_maps(found):
    """No explainer or example changes another's."""
    for name in ("Grad-CAM", "gradient"):
        explain = EXPLAINERS[name]
        for i in (0, 4):
            a = explain(XS[i], TARGETS[i])
            a = a.sum(-1) if a.ndim == 3 else a
            np.testing.assert_allclose(found.maps[name][i], a, rtol=1e-4, atol=1e-6)
            sparse, point = metrics.sparseness(a), metrics.pointing_game(a, MASKS[i])
            np.testing.assert_allclose(cell(found.table, name, "sparseness")[i], sparse, rtol=1e-4)
            np.testing.assert_allclose(cell(found.table, name, "pointing")[i], point)
    # No value of a gradient is equal to another: nothing is drawn.
    a = EXPLAINERS["gradient"](XS[1], TARGETS[1]).sum(-1)
    expected = METRICS["deletion"](F, XS[1], TARGETS[1], a, KEY)
    np.testing.assert_allclose(cell(found.table, "gradient", "deletion")[1], expected, rtol=1e-4)


def test_a_longer_list_and_other_batches_change_no_number(found):
    shorter = evaluate(xs=XS[:3], targets=TARGETS[:3], masks=MASKS[:3], batch_size=2).table
    longer = found.table[found.table.example < 3]
    columns = ["explainer", "metric", "example"]
    both = shorter.merge(longer, on=columns)
    assert len(both) == len(shorter) == len(longer)
    np.testing.assert_allclose(both.value_x, both.value_y, rtol=1e-4, atol=1e-6)


def test_stochastic_explainers_depend_on_the_key():
    judges = [metrics.sparseness]
    only = {"RISE": EXPLAINERS["RISE"]}
    first, again, other = (
        evaluate(only, judges, key=jax.random.key(seed), controls=False).table.value
        for seed in (0, 0, 1)
    )
    assert (first == again).all()
    assert (first != other).all()


def test_oracle_is_the_mask_or_what_is_given():
    judges = [metrics.pointing_game]
    assert (cell(evaluate(judges=judges).table, "oracle", "pointing_game") == 1).all()
    wrong = evaluate(judges=judges, oracle=~MASKS + 0.0).table
    assert (cell(wrong, "oracle", "pointing_game") == 0).all()


def test_rows_and_channels_first():
    f = mlp(FIRST)
    rows = jnp.stack([row(seed) for seed in range(3)])
    explainers = {"gradient": xaijax.bind(xaijax.input_x_gradient, f)}
    found = metrics.evaluate(explainers, [metrics.deletion_auc], f, rows, jnp.zeros(3, int), KEY)
    assert list(dict.fromkeys(found.table.explainer)) == ["gradient", "random", "input magnitude"]
    assert found.maps["gradient"].shape == (3, 6)

    first = jax.tree_util.Partial(lambda f, x: f(x.transpose(1, 2, 0)), F)
    turned = evaluate(
        {"gradient": xaijax.bind(xaijax.saliency, first)},
        {"deletion": METRICS["deletion"]},
        first,
        XS.transpose(0, 3, 1, 2),
    )
    expected = evaluate({"gradient": EXPLAINERS["gradient"]}, {"deletion": METRICS["deletion"]})
    for name in ("gradient", "edges", "input magnitude", "centre"):
        there, here = (cell(t.table, name, "deletion") for t in (turned, expected))
        np.testing.assert_allclose(there, here, rtol=1e-4)


def test_pixel_map():
    a = jnp.arange(24.0).reshape(2, 4, 3) - 12
    x = jnp.zeros((2, 4, 3))
    f = lambda x: x.sum((0, 1))  # noqa: E731
    np.testing.assert_array_equal(metrics.pixel_map(f, x, a), a.sum(-1))
    found = metrics.pixel_map(f, x, a, channels="magnitude")
    np.testing.assert_array_equal(found, jnp.abs(a).sum(-1))
    small = jnp.array([[1.0, 2.0]])
    np.testing.assert_array_equal(metrics.pixel_map(f, x, small), xaijax.resize(small, (2, 4)))


BAD = {
    "no explainer": (lambda: evaluate({}), ValueError, r"explainers must be one at least"),
    "a function": (
        lambda: evaluate({"Grad-CAM": xaijax.grad_cam}),
        TypeError,
        r"explainers must be bound to a model, got 'Grad-CAM'\. Such as xaijax\.bind",
    ),
    "name of a control": (
        lambda: evaluate({"random": EXPLAINERS["gradient"]}),
        ValueError,
        r"explainers must not have the name of a control, got \['random'\]",
    ),
    "no metric": (lambda: evaluate(judges=[]), ValueError, r"metrics must be one at least"),
    "no such metric": (
        lambda: evaluate(judges={"mean": jnp.mean}),
        TypeError,
        r"metrics must be metrics, got 'mean'\. Such as xaijax\.metrics\.deletion_auc",
    ),
    "a metric twice": (
        lambda: evaluate(judges=[metrics.sparseness, metrics.sparseness]),
        ValueError,
        r"metrics must have different names",
    ),
    "no masks": (
        lambda: evaluate(masks=None),
        ValueError,
        r"masks must be given for \['pointing'\], got None",
    ),
    "masks of other examples": (
        lambda: evaluate(masks=MASKS[:2]),
        ValueError,
        r"masks must be stacked, one for each of the 5 examples, got shape \(2, 8, 8\)",
    ),
    "masks of another size": (
        lambda: evaluate(masks=jnp.zeros((5, 4, 4), bool)),
        ValueError,
        r"pointing_game: truth must be a mask of the attribution's shape \(8, 8\)",
    ),
    "targets of other examples": (
        lambda: evaluate(targets=TARGETS[:2]),
        ValueError,
        r"targets must be an array with one for each of the 5 examples, got shape \(2,\)",
    ),
    "target out of range": (
        lambda: evaluate(targets=TARGETS.at[3].set(4)),
        ValueError,
        r"evaluate: target must be in \[0, 4\), got 4",
    ),
    "one target": (lambda: evaluate(targets=1), ValueError, r"targets must be an array"),
    "no example": (
        lambda: evaluate(xs=XS[:0], targets=TARGETS[:0], masks=MASKS[:0]),
        ValueError,
        r"xs must be stacked examples, one at least",
    ),
    "not finite": (
        lambda: evaluate(xs=XS.at[2, 0, 0].set(jnp.nan)),
        ValueError,
        r"xs must be finite, got 3 of 960 values",
    ),
    "no key": (lambda: evaluate(key=None), TypeError, r"evaluate: key must be one typed key"),
    "channels": (
        lambda: evaluate(channels="mean"),
        ValueError,
        r"channels must be 'sum' or 'magnitude', got 'mean'",
    ),
}


@pytest.mark.parametrize("call", BAD.values(), ids=BAD.keys())
def test_bad_calls(call):
    run, error, message = call
    with pytest.raises(error, match=message):
        run()


# --- Controls


def test_edges_are_sobels():
    gray = np.asarray(XS[0].mean(-1))
    expected = np.hypot(ndimage.sobel(gray, 0), ndimage.sobel(gray, 1))
    np.testing.assert_allclose(controls_of(F, XS[0])["edges"](XS[0], 0), expected, rtol=1e-4)


def test_input_magnitude_and_centre():
    own = controls_of(F, XS[0])
    np.testing.assert_allclose(own["input magnitude"](XS[0], 0), np.abs(XS[0]).sum(-1), rtol=1e-5)
    middle = np.asarray(own["centre"](XS[0], 0))
    np.testing.assert_allclose(middle, middle[::-1, ::-1], rtol=1e-6)
    np.testing.assert_allclose(
        middle[0, 3] / middle[3, 3], np.exp(-0.5 * (3.5**2 - 0.5**2) / 4), rtol=1e-5
    )


# --- Statistics


def test_interval_is_students():
    values = np.random.default_rng(0).normal(size=12)
    found = metrics.mean_interval(values)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    np.testing.assert_allclose((found.low, found.high), expected)
    assert found.n == 12


def test_interval_covers(rng):
    """Also where examples of one model are alike: there only clusters do."""
    own, naive, trials = 0, 0, 400
    for _ in range(trials):
        seeds = np.repeat(np.arange(5), 20)
        values = rng.normal(size=5)[seeds] + rng.normal(size=100)
        found = metrics.mean_interval(values, clusters=seeds)
        own += found.low <= 0 <= found.high
        found = metrics.mean_interval(values)
        naive += found.low <= 0 <= found.high
    assert 0.92 <= own / trials <= 0.98
    assert naive / trials < 0.6


def test_nothing_follows_from_one_number():
    found = metrics.mean_interval([2.0, np.nan])
    assert (found.mean, found.n) == (2.0, 1)
    assert np.isnan([found.low, found.high]).all()
    assert np.isnan(metrics.mean_interval([np.nan]).mean)


def test_sign_flips_against_all_of_them():
    d = np.array([0.3, -0.1, 0.4, 0.2, 0.5, 0.05])
    flips = np.array(np.meshgrid(*[[-1, 1]] * len(d))).reshape(len(d), -1).T
    expected = (np.abs((flips * d).mean(1)) >= abs(d.mean()) - 1e-12).mean()
    found = metrics.paired_difference(d + 1, np.ones(len(d)))
    np.testing.assert_allclose(found.p, expected)
    np.testing.assert_allclose(found.effect, d.mean() / d.std(ddof=1))
    assert metrics.paired_difference(d, d).p == 1


def test_false_alarms_are_as_rare_as_promised(rng):
    p = [metrics.paired_difference(rng.normal(size=10), rng.normal(size=10)).p for _ in range(200)]
    assert np.mean(np.array(p) < 0.05) < 0.1


def test_holm_by_hand():
    np.testing.assert_allclose(
        metrics.holm([0.005, np.nan, 0.04, 0.02]), [0.015, np.nan, 0.04, 0.04]
    )


# --- What is said of a table


def table_of(numbers, better="higher", controls=()):
    rows = [
        {
            "explainer": name,
            "control": name in controls,
            "metric": metric,
            "category": "c",
            "better": better if isinstance(better, str) else better[metric],
            "example": i,
            "value": value,
        }
        for metric, columns in numbers.items()
        for name, values in columns.items()
        for i, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


def test_ties_with_the_best_are_marked(rng):
    base = rng.normal(size=30)
    noisy = base + rng.normal(size=30) * 0.01
    numbers = {"m": {"best": base, "as good": noisy, "worse": base - 1, "control": base + 5}}
    found = metrics.summary(table_of(numbers, controls=("control",))).set_index("explainer")
    assert found.best.to_dict() == {
        "best": True,
        "as good": True,
        "worse": False,
        "control": False,
    }
    np.testing.assert_allclose(found["mean"]["worse"], base.mean() - 1)
    lower = metrics.summary(table_of(numbers, "lower", ("control",))).set_index("explainer")
    assert lower.best.to_dict() == {
        "best": False,
        "as good": False,
        "worse": True,
        "control": False,
    }


def test_differences_are_paired():
    numbers = {"m": {"a": [1.0, 2.0, 3.0], "b": [2.0, 3.0, 4.5]}}
    found = metrics.differences(table_of(numbers), "a").iloc[0]
    np.testing.assert_allclose(found.difference, 3.5 / 3)
    assert found.n == 3
    with pytest.raises(ValueError, match=r"to must name an explainer of the table, got 'c'"):
        metrics.differences(table_of(numbers), "c")


def test_metrics_that_rank_alike_or_the_other_way_round():
    numbers = {
        "up": {"a": [1.0], "b": [2.0], "c": [3.0]},
        "down": {"a": [3.0], "b": [2.0], "c": [1.0]},
        "mixed": {"a": [1.0], "b": [3.0], "c": [2.0]},
    }
    found = metrics.rank_agreement(
        table_of(numbers, {"up": "higher", "down": "lower", "mixed": "higher"})
    )
    assert found.loc["up", "down"] == 1
    np.testing.assert_allclose(found.loc["up", "mixed"], 1 / 3)


def test_meta_evaluation_of_a_good_and_a_useless_metric():
    numbers = {
        "good": {"oracle": [3.0, 3.0], "x": [2.0, 3.0], "random": [1.0, 1.0]},
        "bad": {"oracle": [1.0, 2.0], "x": [2.0, 3.0], "random": [1.0, 1.0]},
    }
    found = metrics.meta_evaluation(table_of(numbers)).set_index("metric")
    assert found.loc["good", ["oracle_first", "random_last"]].tolist() == [1.0, 1.0]
    assert found.loc["bad", "oracle_first"] == 0
    assert found.loc["bad", "oracle_over_random"] == 0.75
    with pytest.raises(ValueError, match=r"controls oracle and random, got no \['oracle'\]"):
        metrics.meta_evaluation(table_of({"m": {"random": [1.0]}}))


def test_deletion_knows_the_answer_of_a_linear_model():
    """The metrics themselves are judged on a model whose attribution is known."""
    rng = np.random.default_rng(0)
    w = jnp.asarray(rng.exponential(size=(8, 2)) ** 3, jnp.float32)
    f = jax.tree_util.Partial(lambda w, x: x @ w, w)
    xs = jnp.asarray(rng.uniform(0.5, 1.5, size=(12, 8)), jnp.float32)
    explainers = {"gradient": xaijax.bind(xaijax.saliency, f)}
    judges = [functools.partial(metrics.deletion_auc, num_steps=8)]
    found = metrics.evaluate(
        explainers, judges, f, xs, jnp.zeros(12, int), KEY, oracle=xs * w[:, 0]
    )
    judged = metrics.meta_evaluation(found.table).iloc[0]
    assert judged.oracle_first == 1
    assert judged.oracle_over_random == 1
