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

    y, pullback = jax.vjp(lambda conv, x: conv(x), conv, x)
    rewritten = lower(pullback)
    for a, b in zip(jax.tree.leaves(rewritten(y)), jax.tree.leaves(pullback(y)), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)
    if kind == "depthwise":
        assert "conv_general_dilated" not in primitives(lambda dy: rewritten(dy)[1], y)


@pytest.mark.parametrize("channels", [3, 8])
def test_the_derivative_of_windows_that_touch_is_a_product(channels):
    """Of patches of a vision transformer: not a convolution with zeros, whose patches would not fit into memory."""
    embed = nnx.Conv(channels, 32, (16, 16), strides=16, padding="VALID", rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(0), (128, 128, channels))
    y, pullback = jax.vjp(embed, x)

    def derivative(dy):
        return pullback(dy)[0]

    assert "conv_general_dilated" not in primitives(lower(derivative), y)
    memory = jax.jit(lower(derivative)).lower(y).compile().memory_analysis()
    assert memory is not None
    assert memory.temp_size_in_bytes <= 4 * x.nbytes
    np.testing.assert_allclose(lower(derivative)(y), derivative(y), atol=2e-4)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (1, 5), (2, 4), (4, 4)])
def test_kernels_larger_than_the_image_are_matrix_products(size, stride):
    """Also those of derivatives, which see an image of the output's size, with gaps behind a stride."""
    conv = Conv(6, 5, 3, stride=stride, rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(0), (*size, 6))
    y, pullback = jax.vjp(conv, x)

    for f, seen in ((conv, x), (lambda dy: pullback(dy)[0], jnp.cos(y))):
        assert "conv_general_dilated" in primitives(f, seen)
        # A strided one's derivative is products that are placed, whatever the size.
        stays = seen.shape[0] * seen.shape[1] >= 9 and (f is conv or stride == 1)
        assert ("conv_general_dilated" in primitives(lower(f), seen)) == stays
        np.testing.assert_allclose(lower(f)(seen), f(seen), atol=2e-5)


@pytest.mark.parametrize(
    ("size", "padding"),
    [((14, 15), "SAME"), ((20, 16), "VALID"), ((14, 15), [(2, 1), (0, 3)])],
)
def test_minimal_filtering_is_the_convolution(size, padding):
    """Also in a batch, with a derivative that is filtered in turn, and one in the direction of the kernel."""
    x = jax.random.normal(jax.random.key(0), (2, *size, 128))
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 128, 130)) / 30

    def f(args):
        x, kernel = args
        conv = lax.conv_general_dilated(x[None], kernel, (1, 1), padding, dimension_numbers=NUMBERS)
        return conv[0]

    assert "conv_general_dilated" not in primitives(lower(f), (x[0], kernel))
    assert "conv_general_dilated" in primitives(lower(f, filtered=False), (x[0], kernel))

    def value_and_derivatives(f):
        y, pullback = jax.vjp(f, (x[0], kernel))
        tangent = jax.jvp(lambda kernel: f((x[0], kernel)), (kernel,), (jnp.cos(kernel),))[1]
        return y, pullback(jnp.cos(y)), tangent

    ours = lower(lambda _: value_and_derivatives(lower(f)))(jnp.zeros(()))
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(value_and_derivatives(f)), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5 * float(jnp.abs(b).max()))
    batched = jax.vmap(lambda x: lower(f)((x, kernel)))(x)
    np.testing.assert_allclose(batched, jax.vmap(lambda x: f((x, kernel)))(x), atol=1e-5)


def test_who_asks_for_precision_gets_the_convolution():
    x = jnp.ones((14, 14, 128))
    conv = Conv(128, 128, 3, rngs=nnx.Rngs(0))
    assert "conv_general_dilated" not in primitives(lower(conv), x)
    with jax.default_matmul_precision("highest"):
        assert "conv_general_dilated" in primitives(lower(conv), x)


def test_relevance_is_propagated_by_the_convolutions_themselves():
    """Minimal filtering leaves about 1e-7 of a neighbour where a sum is 0, and rules divide by sums."""
    x, conv = jnp.ones((14, 14, 128)), Conv(128, 128, 3, rngs=nnx.Rngs(0))

    def f(x):
        return conv(x).mean((0, 1))

    assert "conv_general_dilated" not in primitives(lower(f), x)
    assert primitives(lambda x: xaijax.lrp(f, x, 0), x).count("conv_general_dilated") >= 2


@pytest.mark.parametrize("stride", [2, 3])
@pytest.mark.parametrize("kernel_size", [3, 4, 7])
@pytest.mark.parametrize(
    ("size", "layout"), [((9, 12), NUMBERS), ((16, 13), ("NCHW", "OIHW", "NCHW"))]
)
def test_derivatives_of_strided_convolutions_multiply_no_zeros(stride, kernel_size, size, layout):
    axes = {"N": 2, "H": size[0], "W": size[1], "C": 3, "I": 3, "O": 8}
    x = jax.random.normal(jax.random.key(0), [axes[axis] for axis in layout[0]])
    axes |= {"H": kernel_size, "W": kernel_size}
    kernel = jax.random.normal(jax.random.key(1), [axes[axis] for axis in layout[1]])

    def conv(x):
        return lax.conv_general_dilated(
            x, kernel, (stride, stride), [(1, 2), (3, 0)], dimension_numbers=layout
        )

    y, pullback = jax.vjp(conv, x)
    gaps: list[tuple[int, ...]] = []

    def visit(site, *inputs):
        if site.op == "conv_general_dilated":
            gaps.append(site.params["lhs_dilation"])
        return xaijax.DEFER

    def derivative(dy):
        return pullback(dy)[0]

    xaijax.trace(lower(derivative), y).run(xaijax.Interpreter(visit), y)
    assert set(gaps) <= {(1, 1)}
    np.testing.assert_allclose(lower(derivative)(y), derivative(y), atol=2e-4)


@pytest.mark.parametrize(
    ("window", "strides", "padding"),
    [
        ((2, 2), (2, 2), "VALID"),
        ((3, 3), (2, 2), [(1, 1), (1, 0)]),
        ((3, 3), (1, 1), "SAME"),
        ((2, 3), (3, 2), "SAME"),
    ],
)
def test_a_pooling_and_its_derivative_which_goes_to_the_first_of_equals(window, strides, padding):
    # Of few values there are ties in most windows.
    x = jax.random.randint(jax.random.key(0), (11, 10, 4), 0, 3).astype(jnp.float32)

    def pool(x):
        pads = padding if isinstance(padding, str) else [*padding, (0, 0)]
        return lax.reduce_window(x, -jnp.inf, lax.max, (*window, 1), (*strides, 1), pads)

    y, pullback = jax.vjp(pool, x)
    dy = jax.random.normal(jax.random.key(1), y.shape)

    def derivative(dy):
        return pullback(dy)[0]

    assert "select_and_scatter_add" in primitives(derivative, dy)
    assert "select_and_scatter_add" not in primitives(lower(derivative), dy)
    np.testing.assert_allclose(lower(derivative)(dy), derivative(dy), atol=1e-5)

    assert "reduce_window_max" in primitives(pool, x)
    assert "reduce_window_max" not in primitives(lower(pool), x)
    np.testing.assert_array_equal(lower(pool)(x), y)
    # Also where the model is rewritten first, forwards and backwards.
    np.testing.assert_array_equal(jax.vjp(lower(pool), x)[1](dy)[0], derivative(dy))
    dx = jnp.cos(x + jnp.arange(x.size).reshape(x.shape))
    for a, b in zip(jax.jvp(lower(pool), (x,), (dx,)), jax.jvp(pool, (x,), (dx,)), strict=True):
        np.testing.assert_array_equal(a, b)
    missing = x.at[4, 4].set(jnp.nan)
    np.testing.assert_array_equal(lower(pool)(missing), pool(missing))


@pytest.mark.parametrize(("stride", "size"), [(1, (7, 6)), (2, (13, 16))])
def test_wide_kernels_with_few_positions_to_go_are_matrix_products(stride, size):
    conv = Conv(128, 130, 3, stride=stride, rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(0), (*size, 128))
    y, pullback = jax.vjp(conv, x)

    for f, seen in ((conv, x), (lambda dy: pullback(dy)[0], jnp.cos(y))):
        assert "conv_general_dilated" not in primitives(lower(f), seen)
        np.testing.assert_allclose(lower(f)(seen), f(seen), atol=5e-5)


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
