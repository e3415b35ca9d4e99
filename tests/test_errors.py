"""Bad calls: each is an error that names the argument, shows the value and says what to do."""

import dataclasses
import re
import traceback

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xaijax
from tests.cases import FIRST, cnn, image, mlp, row

X, IMAGE = row(0), image(0)
F, NETWORK = mlp(FIRST), cnn(FIRST)
KEY = jax.random.key(0)


def cam(f=NETWORK, x=IMAGE, target=0, **settings):
    return xaijax.grad_cam(f, x, target, **settings)


def lime(f=F, x=X, target=0, key=KEY, **settings):
    return xaijax.lime(f, x, target, key, **settings)


def shap(f=F, x=X, target=0, key=KEY, **settings):
    return xaijax.permutation_shap(f, x, target, key, **settings)


def in_numpy(x):
    return np.tanh(np.asarray(x))[:2]


def with_if(x):
    return x[:2] if x[0] > 0 else x[2:4]


def to_int(x):
    return x[: int(x[0])]


def no_mask(x, z):
    return x


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Cropping:
    num_features: int = 3

    def __call__(self, x, z):
        return x[:-1]


def answers(scores):
    """A black box that gives these for any rows."""
    return xaijax.black_box(lambda rows: scores, 2)


def broken(rows):
    raise RuntimeError("the service is down")


def with_nan(value):
    return X.at[2].set(value)


SHAPES = r"map one example to a float vector of scores .*, got {got}.*as_model"
TRACE = r"f must be traceable by JAX, got .* xaijax\.black_box\(predict, num_outputs\)"

# What is wrong: the call, the error and what its message says.
STATIC = {
    # The layer
    "layer misspelt": (
        lambda: cam(layer="conv3"),
        ValueError,
        r"grad_cam: layer must name a layer of the model, got 'conv3'\. Nearest: 'conv[12]'.*layers\(f, x\)",
    ),
    "layer unknown": (
        lambda: cam(layer="xyz"),
        ValueError,
        r"layer must name a layer of the model, got 'xyz'\. See xaijax\.layers\(f, x\)",
    ),
    "layer by number": (lambda: cam(layer=2), TypeError, r"layer must be a name or None, got 2"),
    "layer without space": (
        lambda: cam(layer="dense"),
        ValueError,
        r"layer must have spatial axes and a channel axis, got 'dense/add' of shape \(4,\)",
    ),
    "layer of a model without one": (
        lambda: cam(F, X),
        ValueError,
        r"layer must be given for a model without a convolution's feature map, got None.*layers",
    ),
    "layer that is no static value": (
        lambda: cam(layer=["conv1"]),
        TypeError,
        r"layer must be static: .*, got \['conv1'\]",
    ),
    # The target
    "target too large": (
        lambda: cam(target=4),
        ValueError,
        r"grad_cam: target must be in \[0, 4\), got 4\.",
    ),
    "target negative": (
        lambda: lime(target=-1),
        ValueError,
        r"lime: target must be in \[0, 4\), got -1\.",
    ),
    "target of NumPy too large": (
        lambda: shap(target=np.int64(9)),
        ValueError,
        r"permutation_shap: target must be in \[0, 4\), got 9\.",
    ),
    "target of JAX too large": (
        lambda: cam(target=jnp.int32(9)),
        ValueError,
        r"target must be in \[0, 4\), got 9\.",
    ),
    "target beyond 32 bits": (
        lambda: cam(target=2**32),
        ValueError,
        r"target must be in \[0, 4\), got 4294967296\.",
    ),
    "target float": (
        lambda: cam(target=1.0),
        TypeError,
        r"target must be an integer index, float weights .* function of them, got float32 of shape \(\)",
    ),
    "target several": (
        lambda: cam(target=jnp.array([0, 1])),
        TypeError,
        r"target must be an integer index.*, got int32 of shape \(2,\)\. For several targets use jax\.vmap",
    ),
    "target of wrong length": (
        lambda: cam(target=jnp.ones(3)),
        ValueError,
        r"target must weight each output, so have the shape \(4,\), got shape \(3,\)",
    ),
    "target function of no scalar": (
        lambda: cam(target=lambda outputs: outputs[:2]),
        ValueError,
        r"target must be a function outputs -> scalar, got shape \(2,\)",
    ),
    "target none": (
        lambda: cam(target=None),
        TypeError,
        r"target must be an integer index.*, got None",
    ),
    "target bool": (
        lambda: cam(target=True),
        TypeError,
        r"target must be an integer index.*, got (bool|True)",
    ),
    "target text": (
        lambda: cam(target="cat"),
        TypeError,
        r"target must be an integer index.*, got 'cat'",
    ),
    # The model
    "f no function": (
        lambda: cam(f={"w": 1}),
        TypeError,
        r"f must be callable, got dict\. .*xaijax\.as_model",
    ),
    "f of a batch": (
        lambda: shap(f=lambda x: x[None, :2]),
        ValueError,
        SHAPES.format(got=r"float32 of shape \(1, 2\)"),
    ),
    "f of a scalar": (
        lambda: shap(f=jnp.sum),
        ValueError,
        SHAPES.format(got=r"float32 of shape \(\)"),
    ),
    "f of integers": (
        lambda: shap(f=lambda x: (x > 0).astype(int)),
        ValueError,
        SHAPES.format(got=r"int32 of shape \(6,\)"),
    ),
    "f of a tuple": (lambda: shap(f=lambda x: (x, x)), ValueError, SHAPES.format(got="tuple")),
    "f of a dict": (lambda: shap(f=lambda x: {"logits": x}), ValueError, SHAPES.format(got="dict")),
    "f in NumPy": (lambda: lime(f=in_numpy), TypeError, TRACE),
    "f with an if": (lambda: lime(f=with_if), TypeError, TRACE),
    "f with int()": (lambda: lime(f=to_int), TypeError, TRACE),
    # The key
    "key missing": (
        lambda: xaijax.lime(F, X, 0),
        TypeError,
        r"lime: missing a required argument: 'key'\. It takes f, x, target, key",
    ),
    "key of the old kind": (
        lambda: lime(key=jax.random.PRNGKey(0)),
        TypeError,
        r"key must be one typed key, got uint32 of shape \(2,\)\. Make one with jax\.random\.key\(seed\)",
    ),
    "key as number": (
        lambda: lime(key=0),
        TypeError,
        r"key must be one typed key, got int.*jax\.random\.key\(seed\)",
    ),
    "key none": (
        lambda: lime(key=None),
        TypeError,
        r"key must be one typed key, got NoneType.*jax\.random\.key",
    ),
    "keys of a batch": (
        lambda: shap(key=jax.random.split(KEY, 3)),
        TypeError,
        r"key must be one typed key, got key<fry> of shape \(3,\)\..*jax\.vmap",
    ),
    "key of another generator": (
        lambda: lime(key=jax.random.key(0, impl="rbg")),
        TypeError,
        r"key must be a threefry2x32 key.*, got rbg\. Make one with jax\.random\.key",
    ),
    # Sizes
    **{
        f"num_samples {n}": (
            lambda n=n: lime(num_samples=n),
            ValueError,
            rf"lime: num_samples must be at least {2 if n == 1 else 1}.*, got {n}\.",
        )
        for n in (0, 1, -3)
    },
    "num_samples fractional": (
        lambda: lime(num_samples=2.5),
        TypeError,
        r"lime: num_samples must be a Python integer, got 2\.5\.",
    ),
    "num_permutations zero": (
        lambda: shap(num_permutations=0),
        ValueError,
        r"num_permutations must be at least 1, got 0\.",
    ),
    "num_permutations fractional": (
        lambda: shap(num_permutations=1.5),
        TypeError,
        r"num_permutations must be a Python integer, got 1\.5\.",
    ),
    "batch_size zero": (
        lambda: lime(batch_size=0),
        ValueError,
        r"batch_size must be at least 1, got 0\.",
    ),
    "batch_size negative": (
        lambda: shap(batch_size=-1),
        ValueError,
        r"batch_size must be at least 1, got -1\.",
    ),
    "num_samples as array": (
        lambda: lime(num_samples=jnp.array(5)),
        TypeError,
        r"num_samples must be a Python integer, got Array\(5",
    ),
    # Numbers
    "kernel_width zero": (
        lambda: lime(kernel_width=0),
        ValueError,
        r"lime: kernel_width must be above 0, got 0\.",
    ),
    "kernel_width negative": (
        lambda: lime(kernel_width=-1.0),
        ValueError,
        r"kernel_width must be above 0, got -1\.0\.",
    ),
    "kernel_width NaN": (
        lambda: lime(kernel_width=np.nan),
        ValueError,
        r"kernel_width must be above 0, got nan\.",
    ),
    "kernel_width text": (
        lambda: lime(kernel_width="wide"),
        TypeError,
        r"kernel_width must be a number, got 'wide'",
    ),
    "ridge none": (
        lambda: lime(ridge=None),
        TypeError,
        r"ridge must be a number, got None",
    ),
    "feature_selection misspelt": (
        lambda: lime(num_features=2, feature_selection="foward"),
        ValueError,
        r"lime: feature_selection must be one of none, forward, .*, got 'foward'\. Nearest: 'forward'",
    ),
    "feature_selection none of two": (
        lambda: lime(num_features=2, feature_selection="none"),
        ValueError,
        r"num_features must be None with feature_selection='none', which keeps all features, got 2\.",
    ),
    "num_features 0": (
        lambda: lime(num_features=0),
        ValueError,
        r"lime: num_features must be at least 1, got 0\.",
    ),
    "more picks than explanations": (
        lambda: xaijax.submodular_pick(jnp.ones((3, 2)), 4),
        ValueError,
        r"submodular_pick: W must be rows .*, at least num_picks=4, got shape \(3, 2\)\.",
    ),
    "ridge negative": (
        lambda: lime(ridge=-1.0),
        ValueError,
        r"ridge must not be negative, got -1\.0\.",
    ),
    "ridge for each feature": (
        lambda: lime(ridge=jnp.ones(6)),
        TypeError,
        r"ridge must be a number, got ",
    ),
    "tolerance negative": (
        lambda: shap(tolerance=-1.0),
        ValueError,
        r"permutation_shap: tolerance must not be negative, got -1\.0\.",
    ),
    # The input
    "x with NaN": (
        lambda: shap(x=with_nan(np.nan)),
        ValueError,
        r"x must be finite, got 1 of 6 values NaN or infinite",
    ),
    "x with infinity": (
        lambda: lime(x=with_nan(np.inf)),
        ValueError,
        r"x must be finite, got 1 of 6 values",
    ),
    "x of integers": (
        lambda: shap(f=lambda x: x[:2] * 1.0, x=jnp.arange(6)),
        TypeError,
        r"mask must be given unless x is one float array, got x int32",
    ),
    "x a tree": (
        lambda: shap(f=lambda x: x["a"], x={"a": X}),
        TypeError,
        r"mask must be given unless x is one float array, got x dict",
    ),
    # Masks
    "segments with a gap": (
        lambda: xaijax.segments(np.array([[0, 2]])),
        ValueError,
        r"labels must be 0, 1, \.\.\., n-1, got labels from 0 to 2 without \[1\].*return_inverse",
    ),
    "segments from one": (
        lambda: xaijax.segments(np.array([[1, 2]])),
        ValueError,
        r"labels must be 0, 1, \.\.\., n-1, got labels from 1 to 2 without \[0\]",
    ),
    "segments from minus one": (
        lambda: xaijax.segments(np.array([[-1, 0]])),
        ValueError,
        r"labels must be 0, 1, \.\.\., n-1, got labels from -1 to 0",
    ),
    "segments of floats": (
        lambda: xaijax.segments(np.zeros((2, 2))),
        TypeError,
        r"segments: labels must be integers, got float64\.",
    ),
    "segments of nothing": (
        lambda: xaijax.segments(np.zeros((0, 4), int)),
        ValueError,
        r"labels must be 0, 1, \.\.\., n-1, got none\.",
    ),
    "segments under jit": (
        lambda: jax.jit(xaijax.segments)(np.zeros((2, 2), int)),
        TypeError,
        r"labels must be concrete, got a traced array\. Compute them outside jit",
    ),
    "segments of another size": (
        lambda: lime(NETWORK, IMAGE, mask=xaijax.segments(np.zeros((4, 8), int))),
        ValueError,
        r"labels must have the image's size \(8, 8\), got \(4, 8\)",
    ),
    "columns of another shape": (
        lambda: shap(mask=xaijax.columns(jnp.zeros((5, 7)))),
        ValueError,
        r"background must have rows like x, \(6,\), got rows of shape \(7,\)",
    ),
    "columns without rows": (
        lambda: xaijax.columns(jnp.zeros((0, 6))),
        ValueError,
        r"background must have at least one row, got shape \(0, 6\)",
    ),
    "columns with NaN": (
        lambda: xaijax.columns(np.array([[1.0, np.nan]])),
        ValueError,
        r"background must be finite, got NaN or infinite values\. Impute or drop",
    ),
    "columns in groups of another shape": (
        lambda: xaijax.columns(np.zeros((3, 2)), groups=np.array([0, 1, 1])),
        ValueError,
        r"groups must be integers, one per column \(2,\), got int64 \(3,\)",
    ),
    "columns in groups of halves": (
        lambda: xaijax.columns(np.zeros((3, 2)), groups=np.array([0.5, 1])),
        ValueError,
        r"groups must be integers, one per column \(2,\), got float64 \(2,\)",
    ),
    "columns in groups without any to hide": (
        lambda: xaijax.columns(np.zeros((3, 2)), groups=np.array([-1, -1])),
        ValueError,
        r"groups must have a column that may be hidden, got \[-1, -1\]",
    ),
    "columns in traced groups": (
        lambda: jax.jit(lambda g: xaijax.columns(np.zeros((3, 2)), groups=g))(jnp.arange(2)),
        TypeError,
        r"groups must be concrete, got a traced array\. Compute them outside jit",
    ),
    "columns with weights of other rows": (
        lambda: xaijax.columns(np.zeros((3, 2)), np.ones(2)),
        ValueError,
        r"weights must be one per row of the background, \(3,\), got shape \(2,\)",
    ),
    "columns with negative weights": (
        lambda: xaijax.columns(np.zeros((2, 2)), np.array([1, -1])),
        ValueError,
        r"weights must be finite, not negative and not all zero, got \[1\.0, -1\.0\]",
    ),
    "columns without weight": (
        lambda: xaijax.columns(np.zeros((2, 2)), np.zeros(2)),
        ValueError,
        r"weights must be finite, not negative and not all zero, got \[0\.0, 0\.0\]",
    ),
    "k_means of too few rows": (
        lambda: xaijax.k_means(np.zeros((2, 2)), 3),
        ValueError,
        r"k must be at most the number of rows, got 3 for rows of shape \(2, 2\)",
    ),
    "k_means with NaN": (
        lambda: xaijax.k_means(np.array([[np.nan]]), 1),
        ValueError,
        r"rows must be finite, got NaN or infinite values\. Impute or drop",
    ),
    "tokens without any to hide": (
        lambda: xaijax.tokens(np.array([0, 0]), 1, keep=(0,)),
        ValueError,
        r"x must have a token that may be hidden, got \[0, 0\]",
    ),
    "tokens of a batch": (
        lambda: xaijax.tokens(np.zeros((2, 3), int), 1),
        TypeError,
        r"x must be one text's integer ids \(length,\), got int64 of shape \(2, 3\)",
    ),
    "tokens of another length": (
        lambda: shap(f=lambda x: x[:2] * 1.0, x=jnp.arange(6), mask=xaijax.tokens(np.arange(5), 9)),
        ValueError,
        r"x must have the shape \(5,\), got shape \(6,\)",
    ),
    "mask without num_features": (
        lambda: shap(mask=no_mask),
        TypeError,
        r"mask must be a callable \(x, z\) -> masked x with num_features, got function\..*segments",
    ),
    "mask of another shape": (
        lambda: shap(mask=Cropping()),
        ValueError,
        r"mask must return inputs like x, \[\(6,\)\], or a stack of such, got \[\(5,\)\]",
    ),
    # Binding
    "setting misspelt": (
        lambda: xaijax.bind(xaijax.lime, F, num_sample=5),
        TypeError,
        r"settings must name a setting of lime, got 'num_sample'\. Nearest: 'num_samples'",
    ),
    "keyword misspelt": (
        lambda: lime(kernelwidth=1.0),
        TypeError,
        r"lime: .*'kernelwidth'.*'kernel_width'",
    ),
    "bind of no explainer": (
        lambda: xaijax.bind(jnp.sum, F),
        TypeError,
        r"explain must be an explainer, got",
    ),
    # Models that are adapted
    "black_box without a function": (
        lambda: xaijax.black_box(np.zeros(3), 2),
        TypeError,
        r"predict must be callable, got ndarray\. .*predict_proba",
    ),
    "black_box without outputs": (
        lambda: xaijax.black_box(in_numpy, 0),
        ValueError,
        r"num_outputs must be at least 1, got 0\.",
    ),
    "as_model of a number": (
        lambda: xaijax.as_model(3),
        TypeError,
        r"model must be a callable .*, got int",
    ),
    # Pictures
    "superpixels unknown": (
        lambda: xaijax.superpixels(np.zeros((4, 4, 3)), "slick"),
        ValueError,
        r"method must be one of quickshift, slic, .*, got 'slick'\. Nearest: 'slic'",
    ),
    "superpixels of no image": (
        lambda: xaijax.superpixels(np.zeros((4, 4))),
        ValueError,
        r"image must have the shape \(h, w, 3\), got \(4, 4\)",
    ),
    "superpixels smaller than a pixel": (
        lambda: xaijax.superpixels(np.zeros((4, 4, 3)), "grid", rows=5),
        ValueError,
        r"rows, columns must have no more cells than the image of 4x4 has pixels, got \(5, 7\)",
    ),
    "slic of no image": (
        lambda: xaijax.slic(jnp.zeros((4, 4))),
        ValueError,
        r"slic: image must have the shape \(h, w, 3\), got \(4, 4\)",
    ),
    "slic without segments": (
        lambda: xaijax.slic(jnp.zeros((4, 4, 3)), num_segments=0),
        ValueError,
        r"slic: num_segments must be at least 1, got 0\.",
    ),
    "resize to nothing": (
        lambda: xaijax.resize(jnp.ones((2, 2)), (0, 4)),
        ValueError,
        r"resize: height must be at least 1, got 0\.",
    ),
    "resize to three axes": (
        lambda: xaijax.resize(jnp.ones((2, 2)), (4, 4, 3)),
        ValueError,
        r"shape must be \(height, width\), got shape \(4, 4, 3\) for a map of shape \(2, 2\)",
    ),
}


@pytest.mark.parametrize(("call", "error", "says"), STATIC.values(), ids=STATIC.keys())
def test_refused_before_anything_is_compiled(call, error, says, count_compiles):
    with count_compiles() as compiled, pytest.raises(error) as caught:
        call()
    message = str(caught.value)
    assert re.search(says, message, flags=re.DOTALL), message
    assert not {"grad_cam", "lime", "permutation_shap"} & set(compiled)


# A model outside JAX is asked only when the program runs.
ANSWERS = {
    "labels": (np.array([["cat", "dog"]] * 5), r"predict must return numbers of shape \(5, 2\)"),
    "one label for a row": (np.zeros(5), r"for 5 rows, got float64 of shape \(5,\)"),
    "another number of outputs": (np.zeros((5, 3)), r"got float64 of shape \(5, 3\)"),
    "another number of rows": (np.zeros((4, 2)), r"got float64 of shape \(4, 2\).*predict_proba"),
    "complex numbers": (np.zeros((5, 2)) * 1j, r"got complex128 of shape \(5, 2\)"),
}


@pytest.mark.parametrize(("scores", "says"), ANSWERS.values(), ids=ANSWERS.keys())
def test_answers_of_a_black_box(scores, says):
    with pytest.raises((ValueError, jax.errors.JaxRuntimeError), match=says):
        lime(f=answers(scores), num_samples=5)


def test_black_box_that_fails():
    """Its own traceback is in the message: the file, the function and the error."""
    says = r"(?s)test_errors\.py\", line \d+, in broken.*RuntimeError: the service is down"
    with pytest.raises(jax.errors.JaxRuntimeError, match=says):
        lime(f=xaijax.black_box(broken, 2), num_samples=5)


def test_black_box_that_changes_its_mind():
    """In the second chunk it gives one score fewer."""
    widths = iter([2, 1])
    f = xaijax.black_box(lambda rows: np.zeros((len(rows), next(widths))), 2)
    with pytest.raises(
        jax.errors.JaxRuntimeError, match=r"shape \(3, 2\) for 3 rows, got .*\(3, 1\)"
    ):
        lime(f=f, num_samples=6, batch_size=3)


def test_error_of_the_model_itself_survives():
    """With what it was given, and the line of the model in its traceback."""

    def my_model(x):
        return x @ jnp.ones((5, 2))

    says = r"lime: x must be an input that f takes, got float32 of shape \(6,\)\. f says: dot_general.*\.$"
    with pytest.raises(TypeError, match=says) as caught:
        lime(f=my_model)
    frames = [frame.name for frame in traceback.extract_tb(caught.value.__cause__.__traceback__)]
    assert "my_model" in frames

    def my_failing_model(x):
        raise KeyError("weights")

    with pytest.raises(KeyError, match="weights"):
        cam(f=my_failing_model)


@pytest.mark.parametrize(
    "explain", [xaijax.saliency, xaijax.grad_cam, xaijax.score_cam, xaijax.lrp]
)
def test_image_of_integers(explain):
    """A network that wants floats complains of its operation, one that converts has no layer on the way."""
    integers = jnp.ones(IMAGE.shape, int)
    says = r"x must be an input that f takes, got int32 of shape .*f says: lax\.mul .* convert x: x\.astype"
    with pytest.raises(TypeError, match=says):
        explain(lambda x: NETWORK(jax.lax.mul(x, jnp.ones(x.shape))), integers, 0)
    with pytest.raises((TypeError, ValueError), match=r"onvert it first.*x\.astype"):
        explain(lambda x: NETWORK(jnp.flip(x, 1).astype(jnp.float32)), integers, 0)


def test_untraceable_model_shows_its_line():
    with pytest.raises(TypeError) as caught:
        lime(f=in_numpy)
    cause = caught.value.__cause__
    assert isinstance(cause, jax.errors.TracerArrayConversionError)
    assert "in_numpy" in [frame.name for frame in traceback.extract_tb(cause.__traceback__)]


def test_errors_show_under_jit_too():
    """Shapes are known there; values are not."""
    with pytest.raises(ValueError, match=r"layer must name a layer"):
        jax.jit(lambda x: cam(x=x, layer="conv3"))(IMAGE)
    with pytest.raises(ValueError, match=r"target must be in \[0, 4\), got 4"):
        jax.jit(lambda x: shap(x=x, target=4))(X)
    with pytest.raises(ValueError, match="ridge must not be negative"):
        jax.jit(lambda x: lime(x=x, ridge=-1.0))(X)


def test_model_of_nan_gives_nan_and_not_a_picture():
    phi = shap(f=lambda x: F(x) * jnp.nan)
    assert np.isnan(phi).all()
    assert np.isnan(cam(f=lambda x: NETWORK(x) * jnp.nan)).all()
    assert np.isnan(lime(f=lambda x: F(x) * jnp.nan)).all()


def test_the_explainer_that_was_called_is_named():
    for name in ("grad_cam", "hires_cam", "ablation_cam"):
        with pytest.raises(ValueError, match=rf"^{name}: target must be in \[0, 4\), got -5\.$"):
            getattr(xaijax, name)(NETWORK, IMAGE, -5)
    for name in ("lime", "lime_fit", "permutation_shap", "shapley_values"):
        with pytest.raises(ValueError, match=rf"^{name}: target must be in \[0, 4\), got -5\.$"):
            getattr(xaijax, name)(F, X, -5, KEY)
