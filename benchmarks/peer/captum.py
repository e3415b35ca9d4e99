"""captum beside ours.

Gradients on ResNet-50 with random weights; what hides parts of an image on EfficientNet-Lite0, each of one image,
with superpixels or windows, in batches of eight; DeepLIFT on SqueezeNet 1.1, since captum's refuses a network that uses
a ReLU more than once.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax.numpy as jnp

import xaijax
from benchmarks.peer import _torch
from benchmarks.peer._data import Data
from benchmarks.peer._libraries import load
from benchmarks.peer._pairs import (
    Images,
    Pair,
    Run,
    Workload,
    channels_last,
    image_workload,
    of_one_channel,
)

_BATCHES = (1,)
_STEPS = 16  # of integrals, and samples of what is random
_SAMPLES = 256
_WIDTH = 0.25  # of LIME's kernel
_WALKS = 2  # walks through the superpixels; ours takes each in both directions
_WINDOW = 28
_CHUNK = 8
# The scope alone would be its last value, which is the mean over the positions: no module of its own computes that.
_LAYER, _MODULE = "layer4/2/relu#3", "layer4"
_PIXELS = "values of pixels"
_RANDOM = f"{_PIXELS}; both draw at random"


def methods(data: Data) -> dict[str, Callable[[], Any]]:
    """Theirs."""
    found: dict[str, Callable[[], Any]] = {}

    def add(network: str, batch: int, make: Callable[..., dict[str, Run]]) -> None:
        net, xs = _torch.network(data, network), _torch.images(data, batch)
        target, prefix = data.target(network), image_workload(network, batch)
        runs = _torch.bare(net, xs, target) | make(data, net, xs, target)
        found.update({f"{prefix}: {name}": run for name, run in runs.items()})

    for batch in _BATCHES:
        add("resnet50", batch, _gradients)
    add("efficientnet_lite0", 1, _hiding)
    add("squeezenet1_1", 1, _deep_lift)
    return found


def _gradients(data: Data, net: Any, xs: Any, target: int) -> dict[str, Run]:
    attr = load("captum.attr")

    once = {
        "saliency": attr.Saliency(net),
        "input_x_gradient": attr.InputXGradient(net),
        "guided_backprop": attr.GuidedBackprop(net),
        "deconvnet": attr.Deconvolution(net),
    }
    runs: dict[str, Run] = {
        name: functools.partial(_attribute, method, xs, target=target)
        for name, method in once.items()
    }
    if len(xs) > 1:
        return runs
    module = getattr(net, _MODULE)
    steps = {"target": target, "n_steps": _STEPS}
    return runs | {
        "integrated_gradients": functools.partial(
            _attribute, attr.IntegratedGradients(net), xs, **steps
        ),
        "smooth_grad": functools.partial(
            _attribute,
            attr.NoiseTunnel(attr.Saliency(net)),
            xs,
            target=target,
            nt_samples=_STEPS,
            stdevs=_deviation(data),
        ),
        "expected_gradients": functools.partial(
            _attribute,
            attr.GradientShap(net),
            xs,
            baselines=_torch.images(data, 8),
            n_samples=_STEPS,
            target=target,
        ),
        "internal_influence": functools.partial(
            _attribute, attr.InternalInfluence(net, module), xs, **steps
        ),
        "conductance": functools.partial(
            _attribute, attr.LayerConductance(net, module), xs, **steps
        ),
    }


def _attribute(method: Any, xs: Any, **settings: Any) -> Any:
    return method.attribute(xs.detach().requires_grad_(), **settings)


def _hiding(data: Data, net: Any, xs: Any, target: int) -> dict[str, Run]:
    torch = load("torch")
    attr = load("captum.attr")
    ridge = load("captum._utils.models.linear_model").SkLearnRidge(alpha=1.0)
    kernel = load("captum.attr._core.lime").get_exp_kernel_similarity_function("cosine", _WIDTH)

    labels = torch.from_numpy(data.read("segments").astype("int64"))
    labels = labels[None, None].to(_torch.device(data))
    window = (3, _WINDOW, _WINDOW)
    by_parts = {"target": target, "feature_mask": labels, "perturbations_per_eval": _CHUNK}
    lime = attr.Lime(
        net,
        interpretable_model=ridge,
        similarity_func=kernel,
    )

    def run(method: Any, **settings: Any) -> Run:
        def attribute() -> Any:
            with torch.no_grad():
                return method.attribute(xs, **settings)

        return attribute

    return {
        "occlusion": run(
            attr.Occlusion(net),
            sliding_window_shapes=window,
            strides=window,
            target=target,
            perturbations_per_eval=_CHUNK,
        ),
        "feature_ablation": run(attr.FeatureAblation(net), **by_parts),
        "lime": run(lime, n_samples=_SAMPLES, **by_parts),
        "kernel_shap": run(attr.KernelShap(net), n_samples=_SAMPLES, **by_parts),
        "permutation_shap": run(attr.ShapleyValueSampling(net), n_samples=2 * _WALKS, **by_parts),
    }


def _deep_lift(data: Data, net: Any, xs: Any, target: int) -> dict[str, Run]:
    torch = load("torch")
    attr = load("captum.attr")

    for module in net.modules():
        if isinstance(module, torch.nn.ReLU):
            module.inplace = False  # its hooks cannot see through
    return {
        "deep_lift": functools.partial(_attribute, attr.DeepLift(net), xs, target=target),
    }


def _deviation(data: Data) -> float:
    """Of the noise, as ours scales it: a part of the range of the image."""
    x = data.images(1)
    return 0.15 * float(x.max() - x.min())


def pairs(data: Data) -> Iterator[Workload]:
    """Ours."""
    for batch in _BATCHES:
        yield _gradient_workload(data, Images(data, "resnet50", batch))
    yield _hiding_workload(data, Images(data, "efficientnet_lite0", 1))
    images = Images(data, "squeezenet1_1", 1)
    where = f"{_PIXELS}; captum's rule for poolings differs where a ReLU is right before"
    pair = Pair(
        "deep_lift", images.program(xaijax.deep_lift), "bare gradient", where, channels_last
    )
    yield Workload(images.name, 1, images.bare(), [pair])


def _gradient_workload(data: Data, images: Images) -> Workload:
    def pair(name: str, run: Run, compared: str = _PIXELS, deterministic: bool = True) -> Pair:
        return Pair(name, run, "bare gradient", compared, channels_last, deterministic)

    found = [
        pair(name, images.program(getattr(xaijax, name)))
        for name in ("saliency", "input_x_gradient", "guided_backprop", "deconvnet")
    ]
    if len(images.xs) == 1:
        steps: dict[str, Any] = {"num_steps": _STEPS}
        baselines = jnp.asarray(data.images(8))
        found += [
            pair(
                "integrated_gradients",
                images.program(functools.partial(xaijax.integrated_gradients, **steps)),
            ),
            pair("smooth_grad", images.random(_smooth_grad), _RANDOM, False),
            pair(
                "expected_gradients",
                images.random(
                    functools.partial(
                        xaijax.expected_gradients, baselines=baselines, num_samples=_STEPS
                    )
                ),
                _RANDOM,
                False,
            ),
            pair(
                "internal_influence",
                images.program(functools.partial(xaijax.internal_influence, layer=_LAYER, **steps)),
                "values of a layer",
            ),
            pair(
                "conductance",
                images.program(functools.partial(xaijax.conductance, layer=_LAYER, **steps)),
                "values of a layer; captum's sum has an error of the first order in the steps",
            ),
        ]
    return Workload(images.name, len(images.xs), images.bare(), found)


def _smooth_grad(f: Any, x: Any, target: Any, key: Any) -> Any:
    explain = xaijax.bind(xaijax.saliency, f)
    return xaijax.smooth_grad(explain, x, target, key, num_samples=_STEPS)


def _hiding_workload(data: Data, images: Images) -> Workload:
    labels = data.read("segments")
    mask = xaijax.segments(labels, hidden=0.0)
    window = (_WINDOW, _WINDOW)
    random = "values of superpixels; both draw at random"

    def pair(name: str, run: Run, deterministic: bool = False) -> Pair:
        compared = "values of superpixels" if deterministic else random
        return Pair(name, run, "bare forward", compared, of_one_channel, deterministic)

    occlusion = functools.partial(xaijax.occlusion, window=window, stride=window)
    ablation = functools.partial(xaijax.feature_ablation, mask=mask)
    lime = functools.partial(
        xaijax.lime,
        mask=mask,
        num_samples=_SAMPLES,
        kernel_width=_WIDTH,
        feature_selection="none",
    )
    kernel = functools.partial(xaijax.kernel_shap, mask=mask, num_samples=_SAMPLES)
    walks = functools.partial(xaijax.permutation_shap, mask=mask, num_permutations=_WALKS)
    found = [
        Pair("occlusion", images.program(occlusion), "bare forward", _PIXELS, channels_last),
        pair("feature_ablation", images.program(ablation), deterministic=True),
        pair("lime", images.random(lime)),
        pair("kernel_shap", images.random(kernel)),
        pair("permutation_shap", images.random(walks)),
    ]
    return Workload(images.name, 1, images.bare(), found)
