"""LIME of table rows: the bins, the neighbours that are drawn, and the surrogate on them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.tree import DecisionTreeClassifier

import xaijax
from tests.oracles import lime as oracle


def table(n=200):
    """Two continuous columns, one with many equal values, a category, a constant."""
    rng = np.random.default_rng(0)
    return np.stack(
        [
            rng.normal(3.0, 2.0, n),
            rng.exponential(5.0, n),
            np.maximum(rng.normal(size=n), 0.0),
            rng.choice([2.0, 5.0, 7.0], n, p=[0.5, 0.3, 0.2]),
            np.full(n, 4.0),
        ],
        1,
    )


DATA = table()
X = np.array([2.0, 1.0, 0.0, 5.0, 4.0])
CENTRE = DATA.mean(0)
SCALE = np.where(DATA.std(0) > 1e-12, DATA.std(0), 1.0)


class Asked:
    """A black box that remembers the rows, and answers with a curved function of them."""

    def __init__(self):
        self.rows = []

    def __call__(self, rows):
        rows = np.asarray(rows, np.float64)
        self.rows.append(rows)
        return np.stack([np.sin(rows @ np.arange(1.0, 6.0)), rows[:, 0] * rows[:, 3]], 1)


def explain(mask, key, x=X, **settings):
    """The fit, and the rows behind it with the input first."""
    asked = Asked()
    settings = {"num_samples": 1501, **settings}
    dtype = jnp.result_type(float)
    model = xaijax.black_box(asked, 2)
    result = xaijax.lime_fit(model, jnp.asarray(x, dtype), 0, key, mask=mask, **settings)
    jax.block_until_ready(result)
    pieces = sorted(asked.rows, key=len)
    return result, np.concatenate(pieces)


# --- Bins


def ends(mask, j):
    found = np.asarray(mask.bins.ends[j])
    return found[np.isfinite(found)]


def test_quartiles_and_deciles(x64):
    for discretizer, steps in (("quartile", 4), ("decile", 10)):
        mask = xaijax.binned_columns(DATA, discretizer, categorical=(3,))
        for j in (0, 1, 2, 4):
            expected = np.unique(np.percentile(DATA[:, j], 100 * np.arange(1, steps) / steps))
            np.testing.assert_allclose(ends(mask, j), expected, rtol=1e-12)
        np.testing.assert_array_equal(ends(mask, 3), [2.0, 5.0])
    assert len(ends(mask, 2)) < 6  # half of that column is 0


def test_entropy(x64):
    labels = (DATA[:, 0] > 3.5).astype(int) + (DATA[:, 1] > 6.0)
    mask = xaijax.binned_columns(DATA, "entropy", categorical=(3,), labels=labels)
    for j in (0, 1):
        tree = DecisionTreeClassifier(criterion="entropy", max_depth=3, random_state=1)
        found = tree.fit(DATA[:, [j]], labels).tree_
        np.testing.assert_allclose(ends(mask, j), np.sort(found.threshold[found.feature >= 0]))
    assert np.abs(ends(mask, 0) - 3.5).min() < 0.1
    np.testing.assert_array_equal(ends(mask, 4), [4.0])  # nothing to split: the median


def test_a_value_at_the_end_of_a_bin_is_in_it():
    mask = xaijax.binned_columns(np.arange(9.0)[:, None])  # ends at 2, 4, 6
    for value, expected in ((-5.0, 0), (2.0, 0), (2.5, 1), (4.0, 1), (6.0, 2), (6.5, 3), (99.0, 3)):
        assert mask.bins.of(jnp.array([value])) == expected


# --- Neighbours


def test_binned_neighbours(key, x64):
    """They are in each bin as often as the training rows, and their values there are those of a normal cut off."""
    mask = xaijax.binned_columns(DATA, categorical=(3,))
    result, rows = explain(mask, key, num_samples=4001)
    assert rows.shape == (4001, 5)
    np.testing.assert_array_equal(rows[0], X)
    assert result.num_evaluations == 4001
    for j in range(5):
        codes, drawn = (np.searchsorted(ends(mask, j), a[:, j]) for a in (DATA, rows[1:]))
        for k in range(codes.max() + 1):
            share, values = (codes == k).mean(), rows[1:][drawn == k, j]
            error = np.sqrt(share * (1 - share) / 4000)
            np.testing.assert_allclose((drawn == k).mean(), share, atol=5 * error)
            inside = DATA[codes == k, j]
            if j in (3, 4) or not len(inside) or np.ptp(inside) == 0:
                np.testing.assert_allclose(values, inside[:1].repeat(len(values)), atol=1e-9)
                continue
            low = ends(mask, j)[k - 1] if k else DATA[:, j].min()
            high = ends(mask, j)[k] if k < codes.max() else DATA[:, j].max()
            assert low <= values.min() < values.max() <= high
            mean, spread = cut_normal(inside.mean(), inside.std(), low, high)
            np.testing.assert_allclose(values.mean(), mean, atol=5 * spread / len(values) ** 0.5)
            np.testing.assert_allclose(values.std(), spread, rtol=0.25)


def cut_normal(mean, std, low, high):
    """Mean and standard deviation of a normal between two ends, by summing its density."""
    grid = np.linspace(low, high, 20001)
    density = np.exp(-(((grid - mean) / std) ** 2) / 2)
    density /= density.sum()
    middle = density @ grid
    return middle, np.sqrt(density @ (grid - middle) ** 2)


@pytest.mark.parametrize("around", ["mean", "instance"])
def test_gaussian_neighbours(around, key, x64):
    mask = xaijax.gaussian_columns(DATA, around, categorical=(3,))
    _, rows = explain(mask, key, num_samples=4001)
    assert rows.shape == (4001, 5)
    np.testing.assert_array_equal(rows[0], X)
    centre = CENTRE if around == "mean" else X
    for j in (0, 1, 2, 4):
        drawn = (rows[1:, j] - centre[j]) / SCALE[j]
        np.testing.assert_allclose(drawn.mean(), 0, atol=5 / 4000**0.5)
        np.testing.assert_allclose(drawn.std(), 1, atol=5 / 8000**0.5)
    drawn, counts = np.unique(rows[1:, 3], return_counts=True)
    np.testing.assert_array_equal(drawn, [2.0, 5.0, 7.0])
    np.testing.assert_allclose(counts / 4000, [(DATA[:, 3] == v).mean() for v in drawn], atol=0.04)


def test_neighbours_in_single_precision(key):
    """Bins of single values, far from 0, and of an outlier: every neighbour is in its bin and near the others."""
    column = np.concatenate([np.full(50, 1e4), np.linspace(0, 1, 49), [1e6]])
    mask = xaijax.binned_columns(np.stack([column, column], 1), "decile")
    f = xaijax.black_box(lambda rows: rows, 2)
    values = mask.neighbors("test", lambda x: f(x)[0], jnp.ones(2), key, 2000, None).y[1:]
    assert np.isfinite(values).all()
    assert values.min() >= 0
    assert values.max() <= 1e6
    codes, drawn = (
        np.searchsorted(ends(mask, 0), np.asarray(a, np.float32)) for a in (column, values)
    )
    shares = [np.bincount(c, minlength=len(ends(mask, 0)) + 1) / len(c) for c in (codes, drawn)]
    np.testing.assert_allclose(*shares, atol=0.06)


# --- The surrogate


def binned_features(rows):
    inner = [np.unique(np.percentile(c, [25, 50, 75])) for c in DATA.T]
    codes = np.stack([np.searchsorted(e, c) for e, c in zip(inner, rows.T, strict=True)], 1)
    codes[:, 3] = rows[:, 3]
    return (codes == codes[0]).astype(float)


def gaussian_features(rows):
    Z = (rows - CENTRE) / SCALE
    Z[:, 3] = rows[:, 3] == rows[0, 3]
    return Z


KINDS = {
    "bins": (lambda: xaijax.binned_columns(DATA, categorical=(3,)), binned_features),
    "around the mean": (lambda: xaijax.gaussian_columns(DATA, "mean", (3,)), gaussian_features),
    "around the row": (lambda: xaijax.gaussian_columns(DATA, "instance", (3,)), gaussian_features),
}
each_kind = pytest.mark.parametrize(("mask", "features"), KINDS.values(), ids=KINDS.keys())


@each_kind
def test_oracle(mask, features, key, x64):
    result, rows = explain(mask(), key, num_samples=300, ridge=0.3, num_features=2)
    Z, y = features(rows), np.sin(rows @ np.arange(1.0, 6.0))
    pi = oracle.neighbor_weights(Z, 0.75 * np.sqrt(5))
    kept = np.array(sorted(oracle.forward_selection(Z, y, pi, 2)))
    expected = oracle.ridge_regression(Z[:, kept], y, pi, 0.3)
    np.testing.assert_array_equal(np.flatnonzero(result.selected), kept)
    np.testing.assert_allclose(result.weights[kept], expected.coefficients, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(result.intercept, expected.intercept, rtol=1e-8)
    np.testing.assert_allclose(result.r2, expected.r2, rtol=1e-8)
    local = expected.intercept + Z[0, kept] @ expected.coefficients
    np.testing.assert_allclose(result.local_prediction, local, rtol=1e-8)
    np.testing.assert_allclose(result.prediction, y[0], rtol=1e-12)
    effective = pi.sum() ** 2 / (pi**2).sum()
    np.testing.assert_allclose(result.effective_sample_size, effective, rtol=1e-8)


@pytest.mark.parametrize("around", ["mean", "instance"])
def test_linear_model_is_recovered(around, key):
    """A weight is the slope per standard deviation."""
    w = np.array([1.0, -0.5, 2.0, 0.0, 0.25])
    f = jax.tree_util.Partial(lambda w, x: (x @ w + 3.0)[None], jnp.asarray(w, jnp.float32))
    mask = xaijax.gaussian_columns(DATA, around)
    weights = xaijax.lime(f, jnp.asarray(X, jnp.float32), 0, key, mask=mask, ridge=0.0)
    np.testing.assert_allclose(weights, w * SCALE, atol=1e-4)


@pytest.mark.parametrize("kind", ["bins", "around the mean"])
def test_category_that_no_training_row_has(kind, key):
    """No neighbour shares it, though the next larger one's bin has it."""
    x = jnp.array([2.0, 1.0, 0.0, 6.0, 4.0])
    found = KINDS[kind][0]().neighbors("test", lambda row: row[0], x, key, 50, None)
    np.testing.assert_array_equal(found.Z[:, 3], [1.0] + 49 * [0.0])
    shared = KINDS[kind][0]().neighbors("test", lambda row: row[0], x + 1.0, key, 50, None)
    assert 0 < shared.Z[1:, 3].sum() < 49


# --- Batches


@pytest.mark.parametrize("kind", ["bins", "around the mean"])
def test_rows_of_a_batch_share_the_neighbours(kind, key):
    """The model is asked for the neighbours once, and for each of the rows."""
    asked, mask = Asked(), KINDS[kind][0]()
    many = xaijax.bind(xaijax.lime, xaijax.black_box(asked, 2), mask=mask, num_samples=50)
    xs = jnp.asarray(DATA[:7], jnp.float32)
    weights = jax.block_until_ready(jax.vmap(many, (0, None, None))(xs, 0, key))
    assert sorted(len(rows) for rows in asked.rows) == [7, 49]
    if kind == "bins":
        np.testing.assert_allclose(weights[3], many(xs[3], 0, key), rtol=1e-4, atol=1e-5)


def test_more_samples_keep_the_first_ones(key):
    mask = xaijax.gaussian_columns(DATA, categorical=(3,))
    few, many = (explain(mask, key, num_samples=n)[1] for n in (10, 30))
    # Programs of two sizes round the normals differently in the last bit.
    np.testing.assert_allclose(few, many[:10], rtol=1e-6, atol=1e-6)


# --- Bad input

BAD = {
    "data of one axis": (
        lambda: xaijax.binned_columns(np.ones(4)),
        r"binned_columns: data must be rows \(n, d\), got shape \(4,\)",
    ),
    "no rows": (lambda: xaijax.gaussian_columns(np.ones((0, 4))), r"data must be rows \(n, d\)"),
    "NaN": (
        lambda: xaijax.gaussian_columns(np.array([[1.0, np.nan]])),
        r"gaussian_columns: data must be finite, got 1 of 2 values NaN or infinite",
    ),
    "category out of range": (
        lambda: xaijax.binned_columns(DATA, categorical=(5,)),
        r"categorical must be numbers of columns, in \[0, 5\), got \(5,\)",
    ),
    "discretizer": (
        lambda: xaijax.binned_columns(DATA, "quartil"),
        r"discretizer must be one of quartile, decile, entropy, got 'quartil'\. Nearest: 'quartile'",
    ),
    "entropy without labels": (
        lambda: xaijax.binned_columns(DATA, "entropy"),
        r"labels must have the class of each row for discretizer='entropy', shape \(200,\), got None",
    ),
    "around": (
        lambda: xaijax.gaussian_columns(DATA, "median"),
        r"around must be 'mean' or 'instance', got 'median'",
    ),
    "traced": (
        lambda: jax.jit(xaijax.binned_columns)(jnp.ones((3, 2))),
        r"data must be concrete, got a traced array",
    ),
    "a row of another table": (
        lambda: explain(xaijax.binned_columns(DATA[:, :3]), jax.random.key(0)),
        r"lime_fit: x must be a row of floats like the mask's, \(3,\), got float32 of shape \(5,\)",
    ),
    "for Shapley values": (
        lambda: xaijax.permutation_shap(
            lambda x: x, jnp.ones(5), 0, jax.random.key(0), mask=xaijax.binned_columns(DATA)
        ),
        r"permutation_shap: mask must be a callable \(x, z\) -> masked x",
    ),
}


@pytest.mark.parametrize(("call", "message"), BAD.values(), ids=BAD.keys())
def test_bad_input(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()
