"""Every explainer over the model evaluations that it needs: on three networks of images, an MLP and MiniLM."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import xaijax
from benchmarks._cost import Case, measure_groups
from benchmarks._rows import Writer
from benchmarks.workloads import background, breast_cancer, forest, grid, table, workload
from xaijax import metrics
from xaijax.propagation import (
    epsilon,
    epsilon_alpha2_beta1,
    epsilon_gamma_box,
    epsilon_plus,
    uniform,
)

STEPS = 16
SAMPLES = 64
# The range of the pixels after the usual normalisation.
LOW = np.array([-2.118, -2.036, -1.804], np.float32)
HIGH = np.array([2.249, 2.429, 2.640], np.float32)
COMPOSITES: dict[str, Callable[[], Any]] = {
    "lrp, epsilon": lambda: uniform(epsilon()),
    "lrp, epsilon_plus": epsilon_plus,
    "lrp, epsilon_gamma_box": lambda: epsilon_gamma_box(LOW, HIGH),
    "lrp, epsilon_alpha2_beta1": epsilon_alpha2_beta1,
}

# One pass through the model and a little more, from its last feature map on.
_FORWARD = [
    "cam",
    "grad_cam",
    "grad_cam_pp",
    "hires_cam",
    "xgrad_cam",
    "grad_cam_elementwise",
    "layer_cam",
    "eigen_cam",
    "eigen_grad_cam",
    "kpca_cam",
    "shapley_cam",
    "finer_cam",
    "random_cam",
    "ablation_cam",
    "layer_gradient",
]
# Of these, whatever a transformer has.
_TOKENS = ["grad_cam", "hires_cam", "layer_cam", "eigen_cam"]
_GRADIENT = [
    "saliency",
    "input_x_gradient",
    "guided_backprop",
    "deconvnet",
    "deep_lift",
    "full_grad",
    "fg_cam",
    "guided_grad_cam",
    "grad_cam_lrp",
]


def batch_size() -> int:
    """How many images at once: what fills the device."""
    return 8 if jax.default_backend() == "cpu" else 128


def groups() -> dict[str, Callable[[], list[Case]]]:
    """By name: cases of one workload that are measured in the same rounds."""
    found: dict[str, Callable[[], list[Case]]] = {}
    for net in ("resnet50", "efficientnet_lite0"):
        found |= {
            f"{net}: maps": functools.partial(maps, net),
            f"{net}: gradients": functools.partial(gradients, net),
        }
    return found | {
        "efficientnet_lite0: paths": paths,
        "efficientnet_lite0: sampling": sampling,
        "efficientnet_lite0: many forwards": many_forwards,
        "resnet50: sampling": lambda: some(sampling("resnet50"), "lime"),
        "vit_small_16": transformer,
        "breast_cancer": rows,
        "breast_cancer, 12 features": all_coalitions,
        "trees": trees,
        "minilm": words,
    }


def run(writer: Writer, *, rounds: int, only: str = "", memory: bool = True) -> None:
    """Measure all groups whose name matches."""
    measure_groups("explainers", groups(), writer, rounds=rounds, only=only, memory=memory)


def some(cases: list[Case], *methods: str) -> list[Case]:
    """Those of some methods."""
    return [c for c in cases if c.method in methods]


def _explain(name: str, random: bool = False, **settings: Any) -> Callable[..., Any]:
    """A function of `(f, x, target, key)`."""
    explain = getattr(xaijax, name)
    if random:
        return lambda f, x, target, key: explain(f, x, target, key, **settings)
    return lambda f, x, target, key: explain(f, x, target, **settings)


def maps(net: str) -> list[Case]:
    """Class activation maps at the last feature map, of a batch: a forward pass each."""
    w, batch = workload(net), batch_size()
    random = {"random_cam"}
    return [
        Case(name, "explainer", w, _explain(name, name in random), batch, "forward", 1)
        for name in _FORWARD
        # CAM needs a network that ends in a mean and one dense layer; both have it.
    ]


def gradients(net: str) -> list[Case]:
    """Gradients and relevance down to the pixels, of a batch: a gradient each."""
    w, batch = workload(net), batch_size()
    plain = [
        Case(n, "explainer", w, _explain(n), batch, "gradient", 1, quality=_gap(n))
        for n in _GRADIENT
    ]
    relevance = [
        Case(n, "explainer", w, _explain("lrp", composite=make()), batch, "gradient", 1)
        for n, make in COMPOSITES.items()
    ]
    return plain + relevance


def paths(net: str = "efficientnet_lite0") -> list[Case]:
    """Integrals and means of gradients, of one image."""
    w, steps = workload(net), {"num_steps": STEPS}
    noisy = {"num_samples": STEPS}
    found = {
        "integrated_gradients": _explain("integrated_gradients", **steps),
        "blur_integrated_gradients": _explain("blur_integrated_gradients", **steps),
        "conductance": _explain("conductance", **steps),
        "internal_influence": _explain("internal_influence", **steps),
        "expected_gradients": _explain(
            "expected_gradients", True, baselines=w.batch(4) * 0.5, **noisy
        ),
        "deep_shap": _explain("deep_shap", background=w.batch(4) * 0.5),
        **{name: _noisy(name) for name in ("smooth_grad", "smooth_grad_squared", "var_grad")},
        "aug_smooth": lambda f, x, target, key: xaijax.aug_smooth(
            xaijax.bind(xaijax.grad_cam, f), x, target
        ),
    }
    # Those of a layer's activations go on from the last feature map: there is no way back to the pixels.
    kinds = dict.fromkeys(("aug_smooth", "conductance", "internal_influence"), "forward")
    # Input and references go through the network together, where it would count once.
    pairs = {"deep_shap": 4}
    return [
        Case(n, "explainer", w, run, 1, kinds.get(n, "gradient"), pairs.get(n), quality=_gap(n))  # type: ignore[arg-type]
        for n, run in found.items()
    ]


def _noisy(name: str) -> Callable[..., Any]:
    def run(f: Any, x: Any, target: Any, key: Any) -> Any:
        explain = xaijax.bind(xaijax.saliency, f)
        return getattr(xaijax, name)(explain, x, target, key, num_samples=STEPS)

    return run


def sampling(net: str = "efficientnet_lite0") -> list[Case]:
    """LIME, RISE and Shapley values of twelve rectangles of one image."""
    w = workload(net)
    hide: dict[str, Any] = {"mask": w.mask}
    permutations = SAMPLES // (2 * (w.mask.num_features - 1))
    found = {
        "lime": _explain("lime", True, num_samples=SAMPLES, **hide),
        "rise": _explain("rise", True, num_samples=SAMPLES),
        "kernel_shap": _explain("kernel_shap", True, num_samples=SAMPLES, **hide),
        "permutation_shap": _explain(
            "permutation_shap", True, num_permutations=permutations, **hide
        ),
        "sampling_shap": _explain(
            "sampling_shap", True, num_samples=max(SAMPLES // (2 * w.mask.num_features), 4), **hide
        ),
        "banzhaf": _explain("banzhaf", True, num_samples=SAMPLES, **hide),
        "owen": _explain("owen", True, num_samples=SAMPLES, hierarchy=_HALVES, **hide),
    }
    return [
        Case(n, "explainer", w, _on_probabilities(run), agnostic=True, quality=_to_exact(n))
        for n, run in found.items()
    ]


# The rectangles of an image, three rows of four: rows, then halves of a row.
_HALVES = tuple(((4 * i, 4 * i + 1), (4 * i + 2, 4 * i + 3)) for i in range(3))


def many_forwards(net: str = "efficientnet_lite0") -> list[Case]:
    """Methods that ask for each window, region or channel, of one image."""
    w = workload(net)
    side, layer = 28, "blocks/4"  # of few channels: each is asked for
    channels = xaijax.layers(w.f, w.xs[0]).find("benchmarks", layer).shape[-1]
    asked = {
        "occlusion": _explain("occlusion", window=(side, side), stride=(side, side)),
        "feature_ablation": _explain("feature_ablation", mask=grid(7, 7)),
    }
    # With the map itself, one for each channel and step or sample: as the papers say.
    weighted = {
        "score_cam": (_explain("score_cam", layer=layer), 1 + channels),
        "is_cam": (_explain("is_cam", layer=layer, num_steps=2), 1 + 2 * channels),
        "ss_cam": (_explain("ss_cam", True, layer=layer, num_samples=2), 1 + 2 * channels),
    }
    return [
        *(
            Case(n, "explainer", w, _on_probabilities(run), agnostic=True)
            for n, run in asked.items()
        ),
        *(Case(n, "explainer", w, run, evaluations=k) for n, (run, k) in weighted.items()),
    ]


def transformer(net: str = "vit_small_16") -> list[Case]:
    """Maps of tokens, gradients and relevance of a batch; LIME of one image."""
    w, batch = workload(net), batch_size()
    found = [Case(n, "explainer", w, _explain(n), batch, "forward", 1) for n in _TOKENS]
    found += [
        Case(n, "explainer", w, _explain(n), batch, "gradient", 1)
        for n in ("saliency", "input_x_gradient", "lrp")
    ]
    lime = _on_probabilities(_explain("lime", True, num_samples=SAMPLES, mask=w.mask))
    return [*found, Case("lime", "explainer", w, lime, agnostic=True)]


def _on_probabilities(run: Callable[..., Any]) -> Callable[..., Any]:
    return lambda f, x, target, key: run(xaijax.probabilities(f), x, target, key)


def rows(batch: int = 16) -> list[Case]:
    """The sampling methods on rows of a table, one row after another."""
    w = workload("breast_cancer")
    X, _ = breast_cancer()
    hide, lime = {"mask": w.mask}, {"num_samples": 5000, "num_features": 10}
    found = {
        "lime, no discretizer": _explain("lime", True, mask=xaijax.gaussian_columns(X), **lime),
        "lime, quartiles": _explain("lime", True, mask=xaijax.binned_columns(X), **lime),
        "kernel_shap": _explain("kernel_shap", True, num_samples=2108, **hide),
        "permutation_shap": _explain("permutation_shap", True, num_permutations=10, **hide),
        "sampling_shap": _explain("sampling_shap", True, num_samples=1000, **hide),
        "banzhaf": _explain("banzhaf", True, num_samples=1000, **hide),
        "owen": _explain("owen", True, num_samples=500, hierarchy=_TENS, **hide),
    }
    sampled = [
        Case(n, "explainer", w, _on_probabilities(run), batch, agnostic=True, in_turn=True)
        for n, run in found.items()
    ]
    steps = _explain("integrated_gradients", num_steps=STEPS)
    drawn = _explain(
        "expected_gradients", True, baselines=jnp.asarray(background()), num_samples=100
    )
    shap = _explain("deep_shap", background=jnp.asarray(background()))
    differentiated = {"integrated_gradients": steps, "expected_gradients": drawn, "deep_shap": shap}
    pairs = {"deep_shap": len(background())}
    return sampled + [
        Case(n, "explainer", w, run, batch, "gradient", pairs.get(n), in_turn=True, quality=_gap(n))
        for n, run in differentiated.items()
    ]


def all_coalitions(batch: int = 2) -> list[Case]:
    """Exact Shapley values of twelve columns."""
    w = table(12)
    exact = _on_probabilities(_explain("exact_shapley", mask=w.mask))
    return [Case("exact_shapley", "explainer", w, exact, batch, agnostic=True, in_turn=True)]


def trees(batch: int = 569) -> list[Case]:
    """Exact Shapley values of a forest, of all rows at once; they ask the trees, not the model."""
    w, rows = forest(), jnp.asarray(background())
    found = {
        "tree_shap": _explain("tree_shap", background=rows),
        "tree_shap, path-dependent": _explain("tree_shap"),
    }
    return [Case(n, "explainer", w, run, batch, "none") for n, run in found.items()]


# The columns of breast cancer: ten measures, of each the mean, the error and the worst.
_TENS = tuple((i, i + 10, i + 20) for i in range(10))


def words() -> list[Case]:
    """LIME and Shapley values of the words of a sentence."""
    w = workload("minilm")
    hide: dict[str, Any] = {"mask": w.mask}
    found = {
        "lime": _explain("lime", True, num_samples=2 * SAMPLES, **hide),
        "kernel_shap": _explain("kernel_shap", True, num_samples=2 * SAMPLES, **hide),
        "permutation_shap": _explain("permutation_shap", True, num_permutations=2, **hide),
    }
    return [
        Case(n, "explainer", w, _on_probabilities(run), agnostic=True) for n, run in found.items()
    ]


_COMPLETE = ("integrated_gradients", "deep_lift")


def _gap(name: str) -> Any:
    """For methods whose attributions add up to the difference that the input makes: how far they are from it."""
    if name not in _COMPLETE:
        return None

    def gap(case: Case, result: Any) -> tuple[str, float]:
        f, target = case.workload.f, case.workload.target
        _, xs, *_ = case.arguments
        x, a = (xs, result) if case.batch == 1 else (xs[0], result[0])
        return "completeness gap, of the score", float(
            metrics.completeness.details(f, x, target, a).relative
        )

    return gap


@functools.cache
def _exact(name: str) -> jax.Array:
    w = workload(name)
    f = xaijax.probabilities(w.f)
    return xaijax.exact_shapley(f, w.xs[0], w.target, mask=w.mask)


_SHAPLEY = ("kernel_shap", "permutation_shap", "sampling_shap")


def _to_exact(name: str) -> Any:
    """For estimates of Shapley values: the distance to the exact ones, of all coalitions."""
    if name not in _SHAPLEY:
        return None

    def distance(case: Case, result: Any) -> tuple[str, float]:
        exact = np.asarray(_exact("efficientnet_lite0"))
        off = np.sqrt(np.mean((np.asarray(result) - exact) ** 2))
        return "error to exact, of the largest", float(off / np.abs(exact).max())

    return distance
