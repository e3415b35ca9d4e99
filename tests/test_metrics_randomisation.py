"""Metrics of randomisation: what is left of an explanation when the model knows nothing, or explains another class."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xaijax
from tests.cases import mlp
from tests.networks import NETWORKS
from tests.oracles import randomisation as oracle
from tests.oracles.robustness import spearman
from xaijax import metrics
from xaijax.core._explainer import explainer
from xaijax.core._parameters import parameter_layers
from xaijax.metrics._randomised import randomised
from xaijax.metrics._similarity import comparison, hog, ssim

mprt = metrics.model_parameter_randomisation


def product(w, x):
    """Its gradient is w and v, multiplied."""
    return (x * w["first"] * w["second"]).sum()[None]


def affine(w, x):
    return x @ w["kernel"] + w["bias"]


# --- The layers of a model


@pytest.mark.parametrize("name", NETWORKS)
def test_every_weight_is_in_one_layer(name):
    f, x = NETWORKS[name]()
    found = parameter_layers("test", f, x)
    members = [i for layer in found.values() for i in layer]
    arrays = [leaf for leaf in jax.tree.leaves(f) if isinstance(leaf, jax.Array)]
    floats = [i for i, a in enumerate(arrays) if jnp.issubdtype(a.dtype, jnp.floating)]
    assert sorted(members) == floats


BLOCK = ("Conv_0", "BatchNorm_0", "Conv_1", "BatchNorm_1")
LINEN = [
    "stem",
    *(f"block1/{name}" for name in BLOCK),
    *(f"block2/{name}" for name in BLOCK),
    "block2/shortcut",
    "head",
]
NNX_BLOCK = ("conv1", "bn1", "conv2", "bn2")


@pytest.mark.parametrize(
    ("name", "expected"),
    {
        "linen": LINEN,
        "linen_jit": LINEN,
        "linen_remat": LINEN,
        "linen_scan": ["stem", *(f"blocks/block/{name}" for name in BLOCK), "head"],
        "nnx_resnet": [
            "stem",
            *(f"blocks/{i}/{name}" for i in range(2) for name in NNX_BLOCK),
            "head",
        ],
        "equinox": ["features/layers/0", "features/layers/3", "mix", "head"],
        "haiku": [f"haiku_res_net/{name}" for name in ("stem", "conv", "head")],
        "plain": ["conv1", "bias1", "conv2", "head"],
        "shared": ["stem", "twice", "head"],
        "branching": ["stem", "conv", "head"],
        "gru": ["gates", "candidate", "head"],
        "loop": ["stem", "again", "head"],
        "nested": ["deep", "head"],
    }.items(),
)
def test_layers_stand_in_the_order_in_which_the_model_reads_them(name, expected):
    """And not in that of the tree: `head` comes before `stem`."""
    assert list(parameter_layers("test", *NETWORKS[name]())) == expected


def test_layers_of_a_model_of_ids():
    """What hangs on integers alone is computed from the input, too."""
    rng = np.random.default_rng(0)
    w = {"a_head": rng.normal(size=(3, 2)), "table": rng.normal(size=(9, 3)), "unused": np.ones(2)}
    f = jax.tree_util.Partial(lambda w, ids: w["table"][ids % 9].mean(0) @ w["a_head"], w)
    assert parameter_layers("test", f, jnp.arange(4)) == {"table": (1,), "a_head": (0,)}


# --- Similarities


@pytest.fixture
def two_maps(rng):
    a = rng.normal(size=(29, 34))
    return a, 0.6 * a + 0.4 * rng.normal(size=a.shape)


def test_ssim_equals_the_oracle_and_scikit_image(two_maps, x64):
    skimage = pytest.importorskip("skimage.metrics")
    a, b = two_maps
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    found = ssim(jnp.asarray(a), jnp.asarray(b), 4.0)
    np.testing.assert_allclose(found, oracle.ssim(a, b, 4.0), rtol=1e-10)
    expected = skimage.structural_similarity(a, b, data_range=4.0, **settings)
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    colours = np.stack([a, b, a * b], -1), np.stack([b, a, a + b], -1)
    expected = skimage.structural_similarity(*colours, data_range=4.0, channel_axis=2, **settings)
    np.testing.assert_allclose(ssim(*map(jnp.asarray, colours), 4.0), expected, rtol=1e-10)


def test_hog_equals_scikit_image(two_maps, x64):
    feature = pytest.importorskip("skimage.feature")
    a, b = two_maps
    # It sums the votes of a cell in single precision.
    np.testing.assert_allclose(hog(jnp.asarray(a)), feature.hog(a), atol=1e-6)
    # Whole numbers: gradients along the axes and diagonals, on the edges of the orientations.
    steps = np.round(3 * a)
    np.testing.assert_allclose(hog(jnp.asarray(steps)), feature.hog(steps), atol=1e-6)
    colours = np.stack([a, b, a * b], -1)
    expected = feature.hog(colours, channel_axis=2)
    np.testing.assert_allclose(hog(jnp.asarray(colours)), expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["spearman", "ssim", "hog"])
def test_a_similarity_knows_no_scale_and_is_1_for_equal_maps(kind, two_maps):
    a, b = (jnp.asarray(each, jnp.float32) for each in two_maps)
    compare = comparison("test", kind, False, jnp.sum, a)
    np.testing.assert_allclose(compare(a, a), 1, rtol=1e-5)
    assert compare(a, b) < 0.95
    np.testing.assert_allclose(compare(a, 1e4 * b), compare(a, b), rtol=1e-4)
    assert np.isnan(compare(a, b.at[0].set(jnp.nan)))
    sizes = comparison("test", kind, True, jnp.sum, a)
    np.testing.assert_allclose(sizes(a, -a), 1, rtol=1e-5)
    assert kind == "hog" or compare(a, -a) < -0.5  # orientations of gradients have no sign


def test_images_are_compared_in_the_layout_that_the_model_reads(rng):
    f, x = NETWORKS["pointwise_nchw"]()
    a, b = (jnp.asarray(rng.normal(size=x.shape), jnp.float32) for _ in range(2))
    found = comparison("test", "ssim", False, f, x)(a, b)
    last = [jnp.moveaxis(each / jnp.abs(each).max() + 1, 0, -1) / 2 for each in (a, b)]
    np.testing.assert_allclose(found, ssim(*last, 1.0), rtol=1e-5)


# --- Model parameter randomisation


def test_arrays_are_permuted_each_by_itself_and_evenly():
    """Every value comes to every place alike, and none to another array."""
    w = {
        "first": jnp.arange(4.0),
        "half": jnp.arange(3, dtype=jnp.bfloat16),
        "second": 9 - jnp.arange(5.0),
    }
    f = jax.tree_util.Partial(lambda w, x: sum(a.sum() for a in w.values())[None] + x, w)
    explain = xaijax.bind(xaijax.saliency, f)

    def drawn(key):
        return randomised("test", explain, jnp.ones(()), key).explainer(lambda i: i >= 0).f.args[0]

    found = jax.jit(jax.vmap(drawn))(jax.random.split(jax.random.key(0), 2000))
    for name, a in w.items():
        rows = np.asarray(found[name], np.float32)
        assert found[name].dtype == a.dtype
        np.testing.assert_array_equal(np.sort(rows, 1), np.tile(np.sort(a), (2000, 1)))
        for value in np.asarray(a, np.float32):
            share = (rows == value).mean(0)
            np.testing.assert_allclose(share, 1 / a.size, atol=4 * 0.5 / 2000**0.5)


@pytest.mark.parametrize("order", ["top_down", "bottom_up", "independent"])
def test_equals_the_oracle(order, x64):
    f, x, key = mlp(2, jnp.float64, (6, 5, 7, 3)), jnp.linspace(-1.0, 1.0, 6), jax.random.key(3)
    explain = xaijax.bind(xaijax.saliency, f)
    found = mprt.details(explain, x, 1, key, order=order)
    steps = {
        "top_down": [{2}, {1, 2}, {0, 1, 2}],
        "bottom_up": [{0}, {0, 1}, {0, 1, 2}],
        "independent": [{2}, {1}, {0}],
    }[order]
    assert found.layers == (("0", "1", "2") if order == "bottom_up" else ("2", "1", "0"))
    all_drawn = randomised("test", explain, x, jax.random.split(key)[1]).explainer(lambda i: i >= 0)
    (old,), (new,) = f.args, all_drawn.f.args
    for before, after in zip(jax.tree.leaves(old), jax.tree.leaves(new), strict=True):
        np.testing.assert_array_equal(np.sort(before, None), np.sort(after, None))
        assert (before != after).any()
    e, expected = oracle.saliency(old, x, 1), []
    for chosen in steps:
        mixed = [new[i] if i in chosen else old[i] for i in range(3)]
        expected.append(spearman(e, oracle.saliency(mixed, x, 1)))
    np.testing.assert_allclose(found.similarities, expected, rtol=1e-10)
    np.testing.assert_allclose(found.value, np.mean(expected), rtol=1e-10)


def test_a_layer_that_the_explanation_does_not_read_changes_nothing(rng, key):
    w = {"kernel": rng.normal(size=(30, 3)), "bias": rng.normal(size=3)}
    f = jax.tree_util.Partial(affine, jax.tree.map(jnp.float32, w))
    explain = xaijax.bind(xaijax.saliency, f)
    found = mprt.details(explain, jnp.ones(30), 0, key, order="independent")
    assert found.layers == ("bias", "kernel")
    np.testing.assert_allclose(found.similarities[0], 1, rtol=1e-6)
    assert abs(found.similarities[1]) < 0.6


def test_layers_whose_explanation_is_constant_are_left_out(key):
    w = {"first": jnp.arange(1.0, 9.0), "second": jnp.zeros(8)}
    explain = xaijax.bind(xaijax.saliency, jax.tree_util.Partial(product, w))
    found = mprt.details(explain, jnp.ones(8), 0, key)
    assert np.isnan(found.similarities).all()
    assert np.isnan(found.value)


@explainer(scope="local", access="black box", stage="post-hoc", models="any")
def noise(f, x, target, key):
    """It knows nothing of the model."""
    return jax.random.normal(key, x.shape, x.dtype)


def test_an_explainer_gets_the_same_draws_for_every_model(key):
    w = {"first": jnp.arange(1.0, 9.0), "second": jnp.arange(8.0)}
    explain = xaijax.bind(noise, jax.tree_util.Partial(product, w))
    found = mprt.details(explain, jnp.ones(8), 0, key)
    np.testing.assert_allclose(found.similarities, 1, rtol=1e-6)


def test_the_model_inside_a_combinator_is_randomised(key):
    w = {"first": jnp.arange(1.0, 33.0), "second": jnp.ones(32)}
    inner = xaijax.bind(xaijax.saliency, jax.tree_util.Partial(product, w))
    smooth = xaijax.bind(xaijax.smooth_grad, inner, num_samples=2, sigma=0.0)
    ask = (jnp.ones(32), 0, key)
    np.testing.assert_allclose(mprt(smooth, *ask), mprt(inner, *ask), rtol=1e-5)
    assert mprt(smooth, *ask) < 0.9


@pytest.mark.parametrize("name", ["linen", "nnx_resnet", "equinox", "haiku"])
def test_one_program_for_all_layers_of_a_model_of_any_framework(name, key, count_compiles):
    f, x = NETWORKS[name]()
    explain = xaijax.bind(xaijax.input_x_gradient, f)
    with count_compiles() as compiled:
        found = mprt.details(explain, x, 1, key)
        mprt.details(explain, 2 * x, 0, jax.random.key(1))
    assert compiled.count("model_parameter_randomisation") == 1
    assert not [program for program in compiled if program == "input_x_gradient"]
    assert list(found.layers) == list(parameter_layers("test", f, x))[::-1]
    # The head is random, and all after it.
    assert np.isfinite(found.similarities).all()
    assert found.similarities.shape == (len(found.layers),)
    assert found.similarities.max() < 0.999


def test_memory_grows_with_the_weights_alone_and_not_with_the_layers_times_them(key):
    def bytes_of(depth):
        f = mlp(0, sizes=(64,) * (depth + 1))
        explain = xaijax.bind(xaijax.saliency, f)
        program = mprt.program(explain, jnp.ones(64), 0, key).compile()
        weights = sum(a.nbytes for a in jax.tree.leaves(f))
        return program.memory_analysis().temp_size_in_bytes, weights

    (small, few), (large, many) = bytes_of(2), bytes_of(12)
    # Drawn anew, mixed, and what sorting needs; a copy for each layer would be 12 times the weights.
    assert large - small <= 8 * (many - few)


def test_what_cannot_be_randomised_is_refused(key):
    explain, x = xaijax.bind(xaijax.saliency, jnp.tanh), jnp.ones(8)
    for metric in (mprt, metrics.efficient_mprt):
        name = metric.__name__
        with pytest.raises(ValueError, match=f"^{name}: explain must have a model with weights"):
            metric(explain, x, 0, key)
    weighted = xaijax.bind(xaijax.saliency, mlp(0))
    x = jnp.ones(6)
    for setting, message in (
        ({"order": "sideways"}, "order must be one of 'top_down', 'bottom_up', 'independent', got"),
        ({"similarity": "cosine"}, "similarity must be one of 'spearman', 'ssim', 'hog', got"),
        ({"similarity": "ssim"}, "similarity must be 'spearman' for maps .* 11 x 11, got 'ssim'"),
        ({"similarity": "hog"}, "similarity must be 'spearman' for maps .* 24 x 24, got 'hog'"),
    ):
        with pytest.raises(ValueError, match=rf"^model_parameter_randomisation: {message}"):
            mprt(weighted, x, 0, key, **setting)


# --- Efficient MPRT


def test_efficient_mprt_equals_the_oracle(x64):
    f, x, key = mlp(2, jnp.float64, (40, 5, 3)), jnp.linspace(-1.0, 1.0, 40), jax.random.key(3)
    explain = xaijax.bind(xaijax.saliency, f)
    found = metrics.efficient_mprt.details(explain, x, 1, key, num_bins=10)
    all_drawn = randomised("test", explain, x, jax.random.split(key)[1]).explainer(lambda i: i >= 0)
    before, after = (
        oracle.entropy(oracle.saliency(w, x, 1), 10) for w in (f.args[0], all_drawn.f.args[0])
    )
    np.testing.assert_allclose((found.original, found.randomised), (before, after), rtol=1e-10)
    np.testing.assert_allclose(found.value, (after - before) / before, rtol=1e-9)


def test_structure_that_is_lost_is_a_rise_of_complexity(key):
    """Two arrays that agree give two products; put in disorder, three."""
    two = jnp.repeat(jnp.array([1.0, 3.0]), 32)
    w = {"first": two, "second": two}
    explain = xaijax.bind(xaijax.saliency, jax.tree_util.Partial(product, w))
    found = metrics.efficient_mprt.details(explain, jnp.ones(64), 0, key)
    np.testing.assert_allclose(found.original, np.log(2), rtol=1e-6)
    assert 0.2 < found.value < np.log(3) / np.log(2) - 1
    flat = xaijax.bind(
        xaijax.saliency, jax.tree_util.Partial(product, jax.tree.map(jnp.ones_like, w))
    )
    assert np.isnan(metrics.efficient_mprt(flat, jnp.ones(64), 0, key))


# --- Random logit


def test_random_logit_compares_with_another_output(rng, x64):
    kernel = jnp.asarray(rng.normal(size=(9, 4)))
    f = jax.tree_util.Partial(affine, {"kernel": kernel, "bias": jnp.zeros(4)})
    explain = xaijax.bind(xaijax.input_x_gradient, f)
    x = jnp.asarray(rng.normal(size=9))
    keys = jax.random.split(jax.random.key(0), 300)
    ask = lambda key: metrics.random_logit.details(explain, x, 2, key, similarity="spearman")  # noqa: E731
    found = jax.vmap(ask)(keys)
    counts = np.bincount(found.other, minlength=4)
    assert counts[2] == 0
    assert (counts[[0, 1, 3]] > 60).all()  # 100 each, give or take 8
    expected = [spearman(x * kernel[:, 2], x * kernel[:, other]) for other in range(4)]
    np.testing.assert_allclose(found.value, np.array(expected)[found.other], rtol=1e-10)


def test_random_logit_of_images(rng, key):
    """The paper's similarity, of images."""
    f, x = NETWORKS["nnx_cnn"]()
    explain = xaijax.bind(xaijax.input_x_gradient, f)
    found = metrics.random_logit.details(explain, x, 0, key)
    a, b = (np.asarray(explain(x, c), np.float64) for c in (0, int(found.other)))
    a, b = (a / np.abs(a).max() + 1) / 2, (b / np.abs(b).max() + 1) / 2
    expected = np.mean([oracle.ssim(a[..., i], b[..., i], 1.0) for i in range(3)])
    np.testing.assert_allclose(found.value, expected, rtol=1e-4)


def test_random_logit_needs_another_output(key):
    x = jnp.ones(4)
    explain = xaijax.bind(xaijax.saliency, lambda x: x.sum()[None])
    with pytest.raises(ValueError, match=r"^random_logit: f must have several outputs, got 1"):
        metrics.random_logit(explain, x, 0, key)
    explain = xaijax.bind(xaijax.saliency, jnp.tanh)
    for target in (jnp.ones(4), lambda outputs: outputs.sum()):
        with pytest.raises(TypeError, match=r"^random_logit: target must be an output's index"):
            metrics.random_logit(explain, x, target, key)
    ask = lambda c: metrics.random_logit(explain, x, c, key, similarity="spearman")  # noqa: E731
    assert np.isnan(jax.jit(ask)(7))
