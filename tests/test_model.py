"""Models of every framework, and of none, as functions of one example."""

import functools

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.tree_util import Partial
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

import xaijax
from tests.networks import NETWORKS, draw, image
from xaijax import as_model, black_box, probabilities

# --- as_model


class Classifier(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        x = nn.BatchNorm(use_running_average=not train)(x)
        return nn.Dense(3)(nn.Dropout(0.5, deterministic=not train)(x))


def linen_pair():
    module = Classifier()
    like = jax.eval_shape(lambda key: module.init(key, jnp.ones((1, 4)), False), jax.random.key(0))
    return module, draw(like)


def test_linen_pair_with_settings():
    module, variables = linen_pair()
    f, x = as_model((module, variables), train=False), image(4)
    np.testing.assert_array_equal(f(x), module.apply(variables, x, train=False))


def test_linen_pair_batch_first():
    module, variables = linen_pair()
    f, x = as_model((module, variables), batch_first=True, train=False), image(4)
    assert f(x).shape == (3,)
    np.testing.assert_array_equal(f(x), module.apply(variables, x[None], train=False)[0])


def test_linen_weights_are_the_leaves():
    module, variables = linen_pair()
    leaves = jax.tree.leaves(as_model((module, variables), train=False))
    assert len(leaves) == 6
    assert all(a is b for a, b in zip(leaves, jax.tree.leaves(variables), strict=True))


class NnxClassifier(nnx.Module):
    def __init__(self, rngs):
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.dense = nnx.Linear(4, 3, rngs=rngs)

    def __call__(self, x):
        return self.dense(self.dropout(self.norm(x)))


def test_nnx_module_is_explained_in_inference_and_left_in_its_mode():
    model, x = NnxClassifier(nnx.Rngs(0)), image(2, 4)
    model.norm.mean[...], model.norm.var[...] = jnp.full(4, 0.5), jnp.full(4, 2.0)
    model.train()
    f = as_model(model)
    scale = jnp.sqrt(2.0 + model.norm.epsilon)
    expected = (x - 0.5) / scale @ model.dense.kernel[...]
    np.testing.assert_allclose(f(x), expected, rtol=1e-5)
    assert not model.norm.use_running_average
    assert not model.dropout.deterministic
    assert f.norm.use_running_average
    assert f.dropout.deterministic
    np.testing.assert_array_equal(model.norm.mean[...], np.full(4, 0.5))


def test_nnx_module_with_dropout_can_be_explained():
    # The state of its random numbers is a key among the leaves.
    f, x = as_model(NnxClassifier(nnx.Rngs(0))), image(4)
    fit = xaijax.lime_fit(f, x, 0, jax.random.key(0), num_samples=50)
    np.testing.assert_allclose(fit.prediction, f(x)[0], rtol=1e-5)


class EquinoxClassifier(eqx.Module):
    dropout: eqx.nn.Dropout
    dense: eqx.nn.Linear

    def __init__(self, key):
        self.dropout, self.dense = eqx.nn.Dropout(0.5), eqx.nn.Linear(4, 3, key=key)

    def __call__(self, x):
        return self.dense(self.dropout(x))


def test_equinox_module_is_explained_in_inference_and_left_in_its_mode():
    model, x = EquinoxClassifier(jax.random.key(0)), image(4)
    f = as_model(model)
    np.testing.assert_array_equal(f(x), model.dense(x))
    assert f.dropout.inference
    assert not model.dropout.inference


def test_equinox_module_with_dropout_can_be_explained():
    # Its rate and its mode are Python numbers among the leaves.
    f, x = as_model(EquinoxClassifier(jax.random.key(0))), image(4)
    fit = xaijax.lime_fit(f, x, 0, jax.random.key(0), num_samples=50)
    np.testing.assert_allclose(fit.prediction, f(x)[0], rtol=1e-5)
    assert [layer.operation for layer in xaijax.layers(f, x)][-1] == "add"


def test_equinox_module_with_max_pooling_has_gradients_before_it():
    # The value that pads its windows is a Python number among the leaves.
    f, x = NETWORKS["equinox"]()
    first, *rest = f.features.layers

    def after_the_first_convolution(A):
        return eqx.tree_at(lambda f: f.features, f, eqx.nn.Sequential(rest))(A)[0]

    gradient = jax.grad(after_the_first_convolution)(first(x))
    maps = xaijax.cam_maps(xaijax.bind(xaijax.grad_cam, f, layer="features/layers/0"), x, 0)
    np.testing.assert_allclose(maps.weights, gradient.mean((1, 2)), rtol=1e-5)


def test_callable_is_returned_as_it_is():
    f, x = NETWORKS["plain"]()
    assert as_model(f) is f
    np.testing.assert_array_equal(as_model(jnp.sin)(x), jnp.sin(x))


def test_batch_first_callable_with_a_dict_as_example():
    f = as_model(lambda x: x["a"] @ jnp.eye(2) + x["b"], batch_first=True)
    np.testing.assert_array_equal(f({"a": jnp.ones(2), "b": jnp.ones(2)}), [2, 2])


@pytest.mark.parametrize(
    "f",
    [
        as_model(NETWORKS["nnx_cnn"]()[0]),
        as_model(Partial(jax.vmap(lambda x: x.mean((0, 1)))), batch_first=True),
    ],
    ids=["nnx", "batch_first"],
)
def test_adapted_models_under_jit_and_vmap(f):
    batch = image(3, 16, 16, 3)
    expected = jnp.stack([f(row) for row in batch])
    np.testing.assert_allclose(jax.jit(jax.vmap(f))(batch), expected, rtol=1e-5, atol=1e-6)


def test_something_that_is_no_model():
    with pytest.raises(
        TypeError, match=r"as_model: model must be a callable.*got RandomForest.*bl"
    ):
        as_model(RandomForestClassifier())


def test_settings_are_for_linen():
    with pytest.raises(TypeError, match=r"as_model: model must be a Flax linen pair.*Bind train"):
        as_model(jnp.sin, train=False)


# --- Weights: traced arguments or constants


def test_warning_of_arrays_closed_over():
    w = jnp.ones((3, 2))
    with pytest.warns(UserWarning, match="as_model: the model has arrays closed over"):
        as_model(lambda x: x @ w)


@pytest.mark.parametrize(
    "hide",
    [
        lambda apply, w: functools.partial(apply, w),
        lambda apply, w: Partial(functools.partial(apply, w)),
        lambda apply, w: functools.partial(apply, w={"deep": [w]}),
    ],
)
def test_warning_of_arrays_in_a_partial(hide):
    with pytest.warns(UserWarning, match="arrays closed over"):
        as_model(hide(lambda w, x: x, jnp.ones(2)))


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x * 2.0,
        Partial(lambda w, x: x @ w, jnp.ones((3, 2))),
        Partial(functools.partial(lambda w, x, train: x @ w, train=False), jnp.ones((3, 2))),
    ],
)
def test_no_warning_where_the_weights_are_arguments(f):
    as_model(f)  # a warning would be an error


@pytest.mark.parametrize("name", ["linen", "nnx_resnet", "haiku", "plain"])
def test_new_weights_do_not_compile_again(name):
    f, x = NETWORKS[name]()
    model = as_model((f.func.__self__, f.args[0])) if name == "linen" else as_model(f)
    traces = []

    def count(f, x):
        traces.append(1)
        return f(x)

    old = xaijax.grad_cam(Partial(count, model), x, 0)
    before = len(traces)
    new = xaijax.grad_cam(Partial(count, jax.tree.map(lambda w: w * 1.5, model)), x, 0)
    assert len(traces) == before > 0
    assert not np.allclose(old, new)


# --- black_box


def linear(rows):
    return np.stack([rows.sum(1), rows[:, 0], -rows[:, 1]], 1)


def recorded(predict):
    """The function, and the shapes of the batches that it is given."""
    shapes = []
    return lambda rows: shapes.append(rows.shape) or predict(rows), shapes


@pytest.mark.parametrize("call", [lambda f: f, jax.jit])
def test_black_box_of_one_example_is_a_batch_of_one(call):
    predict, shapes = recorded(linear)
    np.testing.assert_array_equal(call(black_box(predict, 3))(jnp.asarray([1.0, 2.0])), [3, 1, -2])
    assert set(shapes) == {(1, 2)}


def test_black_box_under_vmaps_sees_one_big_batch():
    predict, shapes = recorded(linear)
    x = image(4, 5, 6, 2)
    f = jax.vmap(jax.vmap(jax.vmap(black_box(predict, 3))))
    out = f(x)
    assert shapes == [(120, 2)]
    np.testing.assert_allclose(out, linear(np.asarray(x).reshape(-1, 2)).reshape(4, 5, 6, 3))


def test_black_box_under_vmap_along_another_axis():
    x = image(2, 7)
    out = jax.vmap(black_box(linear, 3), in_axes=1, out_axes=1)(x)
    np.testing.assert_allclose(out, linear(np.asarray(x).T).T)


def test_black_box_of_images():
    predict, shapes = recorded(lambda rows: rows.mean((1, 2)))
    out = jax.vmap(black_box(predict, 3))(image(4, 8, 8, 3))
    assert out.shape == (4, 3)
    assert shapes == [(4, 8, 8, 3)]


@pytest.mark.parametrize("predict", [lambda rows: rows.sum(1), lambda rows: rows.sum(1)[:, None]])
def test_black_box_with_one_output(predict):
    f, x = black_box(predict, 1), image(3, 2)
    assert f(x[0]).shape == (1,)
    np.testing.assert_allclose(jax.vmap(f)(x)[:, 0], np.asarray(x).sum(1), rtol=1e-6)


@pytest.mark.parametrize(
    ("dtype", "answer"), [(np.float32, np.float64), (np.float32, np.int64), (np.int32, np.float64)]
)
def test_black_box_answers_in_float32(dtype, answer):
    f = black_box(lambda rows: rows.astype(answer) * 2, 2)
    out = f(jnp.asarray([1, 2], dtype))
    assert out.dtype == jnp.float32
    np.testing.assert_array_equal(out, [2, 4])


def test_black_box_keeps_float64():
    with jax.enable_x64(True):
        out = black_box(lambda rows: rows / 3, 2)(jnp.asarray([1.0, 2.0]))
        assert out.dtype == jnp.float64
        np.testing.assert_array_equal(out, [1 / 3, 2 / 3])


@pytest.mark.parametrize(
    ("predict", "got"),
    [
        (lambda rows: rows[:, :1], "of shape (1, 1)"),
        (lambda rows: rows.sum(1), "of shape (1,)"),
        (lambda rows: np.repeat(rows, 2, 0), "of shape (2, 2)"),
        (lambda rows: np.array([["cat", "dog"]] * len(rows)), "<U3 of shape (1, 2)"),
        (lambda rows: np.array([["cat", "dog"]] * len(rows), object), "object of shape (1, 2)"),
    ],
)
@pytest.mark.parametrize("call", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_black_box_with_a_wrong_answer(predict, got, call):
    # Raised inside a compiled program, an error arrives as JAX's own, with the message of ours.
    with pytest.raises((ValueError, jax.errors.JaxRuntimeError)) as error:
        jax.block_until_ready(call(black_box(predict, 2))(jnp.ones(2)))
    message = "black_box: predict must return numbers of shape (1, 2) for 1 rows, got "
    assert message in str(error.value)
    assert got in str(error.value)


@pytest.mark.parametrize(
    ("predict", "num_outputs", "kind", "message"),
    [
        (RandomForestClassifier(), 2, TypeError, "predict must be callable, got RandomForest"),
        (linear, 0, ValueError, "num_outputs must be at least 1, got 0"),
        (linear, 2.0, TypeError, "num_outputs must be a Python integer, got 2.0"),
    ],
)
def test_black_box_of_something_else(predict, num_outputs, kind, message):
    with pytest.raises(kind, match=f"black_box: {message}"):
        black_box(predict, num_outputs)


@pytest.mark.parametrize(("num_samples", "batch_size", "chunk"), [(60, 15, 15), (60, 25, 20)])
def test_lime_gives_a_black_box_whole_chunks(num_samples, batch_size, chunk):
    predict, shapes = recorded(linear)
    mask = xaijax.columns(image(7, 2))
    xaijax.lime_fit(
        black_box(predict, 3),
        image(2),
        1,
        jax.random.key(0),
        mask=mask,
        num_samples=num_samples,
        batch_size=batch_size,
    )
    # Each sample is shown on each of the 7 background rows.
    assert shapes == [(chunk * 7, 2)] * (num_samples // chunk)


def test_lime_fills_up_the_last_chunk():
    predict, shapes = recorded(linear)
    f = black_box(predict, 3)
    xaijax.lime_fit(f, image(2), 1, jax.random.key(0), num_samples=50, batch_size=20)
    assert shapes == [(17, 2)] * 3


def test_black_box_equals_scikit_learn():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 4))
    y = (X[:, 0] + X[:, 1] * X[:, 2] > 0).astype(int)
    for model in (RandomForestClassifier(10, random_state=0), LogisticRegression()):
        model.fit(X, y)
        rows = np.asarray(X[:20], np.float32)
        actual = jax.jit(jax.vmap(black_box(model.predict_proba, 2)))(rows)
        np.testing.assert_array_equal(actual, model.predict_proba(rows).astype(np.float32))


def test_black_box_and_the_same_function_in_jax_have_the_same_explanation():
    def f(x):
        return jnp.stack([x.sum(), x[0], -x[1]])

    x, key = image(2), jax.random.key(0)
    for explain in (xaijax.lime, xaijax.permutation_shap):
        expected = explain(f, x, 0, key)
        np.testing.assert_allclose(explain(black_box(linear, 3), x, 0, key), expected, atol=1e-6)


def test_black_box_has_no_gradient():
    with pytest.raises(ValueError, match="JVP"):
        jax.grad(lambda x: black_box(linear, 3)(x)[0])(image(2))


def test_a_model_that_is_not_jax_is_explained_to_be_wrapped():
    def f(x):
        return linear(np.asarray(x)[None])[0]

    with pytest.raises(TypeError, match=r"lime: f must be traceable by JAX.*xaijax\.black_box"):
        xaijax.lime(f, image(2), 0, jax.random.key(0))


# --- probabilities


@pytest.mark.parametrize("name", ["linen", "nnx_cnn", "haiku", "plain"])
def test_probabilities(name):
    f, x = NETWORKS[name]()
    p = np.asarray(probabilities(f)(x), np.float64)
    logits = np.asarray(f(x), np.float64)
    np.testing.assert_allclose(p, np.exp(logits) / np.exp(logits).sum(), rtol=1e-5)
    assert abs(p.sum() - 1) < 1e-6


def test_probabilities_of_large_logits():
    np.testing.assert_array_equal(probabilities(lambda x: x)(jnp.asarray([1e4, -1e4])), [1, 0])


def test_probabilities_keep_the_weights_as_leaves():
    f, _ = NETWORKS["plain"]()
    assert len(jax.tree.leaves(probabilities(f))) == len(jax.tree.leaves(f))


def test_two_adapters_of_one_model_are_not_one_program():
    """Their trees are alike but for their classes, which JAX does not compare."""
    base, x = (
        Partial(lambda w, x: x @ w, jnp.array([[1.0, 2.0], [3.0, -4.0]])),
        jnp.array([1.0, 2.0]),
    )

    def values(f):
        return xaijax.permutation_shap(f, x, 0, jax.random.key(0), num_permutations=1)

    plain, probable = values(xaijax.lower(base)), values(xaijax.probabilities(base))
    np.testing.assert_allclose(plain, [1.0, 6.0], rtol=1e-6)
    share = jax.nn.softmax(base(x))[0] - 0.5  # of all features over none
    np.testing.assert_allclose(probable.sum(), share, rtol=1e-5)
