"""Convolutions rewritten for the CPU give what XLA's convolution gives, and only they are rewritten."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

import xaijax
from xaijax import lower, plain_convolutions
from xaijax.models._layers import Conv

NUMBERS = ("NHWC", "HWIO", "NHWC")


def primitives(f, x):
    """The primitives of a function, those inside its calls included."""

    def visit(site, *inputs):
        if not site.is_call:
            names.append(site.op)
        return xaijax.DEFER

    names: list[str] = []
    xaijax.trace(f, x).run(xaijax.Interpreter(visit), x)
    return names


@pytest.fixture(autouse=True)
def _on_a_cpu():
    if jax.default_backend() != "cpu":
        pytest.skip("rewrites for the CPU backend")


@pytest.mark.parametrize("kernel_size", [1, 3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(8, 8), (7, 9), (1, 2)])
@pytest.mark.parametrize("kind", ["depthwise", "few channels"])
def test_values_and_gradients_equal_the_convolution(kernel_size, stride, size, kind):
    channels = 6 if kind == "depthwise" else 3
    conv = Conv(
        channels, 6, kernel_size, stride=stride, depthwise=kind == "depthwise", rngs=nnx.Rngs(0)
    )
    x = jax.random.normal(jax.random.key(0), (*size, channels))
    assert "conv_general_dilated" in primitives(conv, x)
    assert "conv_general_dilated" not in primitives(lower(conv), x)

    def value_and_pullback(f):
        y, pullback = jax.vjp(lambda conv, x: f(conv)(x), conv, x)
        return y, pullback(jnp.cos(y))

    ours = jax.jit(lambda: value_and_pullback(lower))()
    xla = jax.jit(lambda: value_and_pullback(lambda conv: conv))()
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(xla), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (1, 5), (2, 4), (4, 4)])
def test_kernels_larger_than_the_image_are_matrix_products(size, stride):
    """Also those of derivatives, which see an image of the output's size, with gaps behind a stride."""
    conv = Conv(6, 5, 3, stride=stride, rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(0), (*size, 6))
    y, pullback = jax.vjp(conv, x)

    for f, seen in ((conv, x), (lambda dy: pullback(dy)[0], jnp.cos(y))):
        assert "conv_general_dilated" in primitives(f, seen)
        stays = seen.shape[0] * seen.shape[1] >= 9
        assert ("conv_general_dilated" in primitives(lower(f), seen)) == stays
        np.testing.assert_allclose(lower(f)(seen), f(seen), atol=2e-5)


def test_batches_and_vmap_agree():
    conv = Conv(4, 4, 3, depthwise=True, rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(0), (2, 8, 8, 4))
    np.testing.assert_allclose(lower(conv)(x), jax.vmap(lower(conv))(x), rtol=1e-6)


LAYOUTS = {
    "channels first": ("NCHW", "OIHW", "NCHW"),
    "kernel as its gradient has it": ("NHWC", "HWOI", "NHWC"),
    "mixed": ("CHWN", "IHWO", "HNCW"),
    "one dimension": ("NCH", "OIH", "NCH"),
    "three dimensions": ("NCDHW", "OIDHW", "NDHWC"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "change",
    [{"lhs_dilation": 2, "stride": 2}, {"rhs_dilation": 2, "feature_group_count": 2}],
    ids=["strided", "grouped"],
)
def test_every_layout_becomes_channels_last_and_stays_the_same_convolution(layout, change):
    numbers = LAYOUTS[layout]
    rank = len(numbers[0])
    groups = change.get("feature_group_count", 1)
    sizes = dict(zip("NCDHWIO", (2, 6, 4, 5, 7, 6 // groups, 8), strict=True))
    key, other = jax.random.split(jax.random.key(0))
    x = jax.random.normal(key, [sizes[axis] for axis in numbers[0]])
    # Where a kernel has no axis of images, its size along it is 3 or 2.
    sizes |= {"D": 2, "H": 3, "W": 2}
    kernel = jax.random.normal(other, [sizes[axis] for axis in numbers[1]])
    dilation = {k: (change.get(k, 1),) * (rank - 2) for k in ("lhs_dilation", "rhs_dilation")}

    def f(x, kernel):
        return lax.conv_general_dilated(
            x,
            kernel,
            (change.get("stride", 1),) * (rank - 2),
            [(2, 1)] * (rank - 2),
            dilation["lhs_dilation"],
            dilation["rhs_dilation"],
            numbers,
            groups,
        )

    def value_and_gradients(f, x, kernel):
        y, back = jax.vjp(f, x, kernel)
        return y, *back(jnp.cos(y))

    g = lower(lambda args: f(*args))
    ours = jax.jit(lambda *args: value_and_gradients(lambda *args: g(args), *args))(x, kernel)
    plain = jax.jit(lambda *args: value_and_gradients(f, *args))(x, kernel)
    for a, b in zip(ours, plain, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)
    assert set(layouts(g, (x, kernel))) == {rank}


def layouts(f, x):
    """The rank of each convolution of a function that has channels last, and the layout of any other."""

    def visit(site, *inputs):
        if site.op == "conv_general_dilated":
            numbers = site.params["dimension_numbers"]
            rank = len(numbers.lhs_spec)
            space = tuple(range(1, rank - 1))
            last = ((0, rank - 1, *space), (rank - 1, rank - 2, *(i - 1 for i in space)))
            found.append(rank if numbers == (*last, last[0]) else numbers)
        return xaijax.DEFER

    found = []
    xaijax.trace(f, x).run(xaijax.Interpreter(visit, open_custom=True), x)
    return found


@pytest.mark.parametrize(
    "name", ["saliency", "guided_backprop", "grad_cam", "full_grad", "lrp", "deep_lift"]
)
def test_derivatives_have_channels_last_too(name):
    """XLA does not bring the convolutions of a loop's body into the layout that it is fast for."""
    x = jax.random.normal(jax.random.key(0), (8, 8, 5))
    kernels = [jax.random.normal(jax.random.key(i), (3, 3, 5, 5)) for i in range(3)]

    def f(x):
        for kernel in kernels:
            conv = lax.conv_general_dilated(
                x[None], kernel, (1, 1), "SAME", dimension_numbers=NUMBERS
            )
            x = jax.nn.relu(conv[0])
        return x.mean((0, 1))

    settings = {"layer": xaijax.layers(f, x)[0].name} if name == "grad_cam" else {}
    explain = xaijax.bind(getattr(xaijax, name), f, **settings)
    found = layouts(lambda x: explain(x, 0), x)
    assert set(found) == {4}
    assert len(found) > 3  # of the model, and of its derivative


def depthwise(x):
    kernel = jnp.ones((3, 3, 1, x.shape[-1])) / 9
    return lax.conv_general_dilated(
        x[None], kernel, (1, 1), "SAME", dimension_numbers=NUMBERS, feature_group_count=x.shape[-1]
    )[0]


def test_inside_jit_scan_and_not_inside_remat():
    x = jax.random.normal(jax.random.key(0), (6, 6, 3))

    def scanned(x):
        return lax.scan(lambda c, _: (jax.jit(depthwise)(c), None), x, None, length=3)[0]

    rewritten = primitives(lower(scanned), x)
    assert "scan" in rewritten
    assert "conv_general_dilated" not in rewritten
    np.testing.assert_allclose(lower(scanned)(x), scanned(x), rtol=1e-5)
    # Opening it would keep what it was told to forget.
    assert "conv_general_dilated" in primitives(lower(jax.checkpoint(depthwise)), x)


def test_explainers_use_it_unless_told_not_to():
    def f(x):
        return jax.nn.relu(depthwise(x)).mean((0, 1))

    x = jax.random.normal(jax.random.key(0), (8, 8, 3))
    fast = xaijax.grad_cam.program(f, x, 0).as_text()
    cam = xaijax.grad_cam(f, x, 0)
    with plain_convolutions():
        plain = xaijax.grad_cam.program(f, x, 0).as_text()
        np.testing.assert_allclose(cam, xaijax.grad_cam(f, x, 0), rtol=1e-5)
    assert "stablehlo.convolution" not in fast
    assert "stablehlo.convolution" in plain


def test_a_convolution_that_accumulates_in_another_dtype_stays():
    x, kernel = jnp.ones((1, 4, 4, 8), jnp.bfloat16), jnp.ones((1, 1, 8, 8), jnp.bfloat16)

    def f(x):
        return lax.conv_general_dilated(
            x,
            kernel,
            (1, 1),
            "SAME",
            dimension_numbers=NUMBERS,
            preferred_element_type=jnp.float32,
        )

    assert lower(f)(x).dtype == f(x).dtype == jnp.float32
