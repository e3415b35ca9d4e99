"""Do explanations change when the network forgets what it has learnt?

Claim: the gradient and Grad-CAM depend on the network's weights; guided backpropagation and Guided Grad-CAM hardly do,
and are closer to edge detectors (Adebayo et al. 2018, "Sanity Checks for Saliency Maps").

A network is trained on Fashion-MNIST. Its layers are then randomised one after another from the outputs down, each by a
permutation of its weights, and test images are explained anew. What depends on the weights loses its likeness to the
explanation of the trained network; what only shows the image's edges keeps it. Compared are the sizes of the values, as
in the paper's figures: their ranks (Spearman) and their structure (SSIM).

Measured: the likeness after each layer, for each method and a control that sees only the image, over images of networks
of several seeds. Unit of replication: the network; images of one are averaged. The number is the metric's own, the mean
rank correlation over the steps from the outputs to the whole network: a method passes if its interval lies below a half
of what the control keeps, which is 1, and fails if it lies above. That the mean decides, and not the last step, was
chosen when one network had been measured.

Expected: the gradient and Grad-CAM near 0; guided backpropagation and Guided Grad-CAM well above, and falling only when
the first layers are random, too. Test accuracy of the networks: at least 90 %.

Needs: pip install "xaijax[evaluate,plot,train,data]"; apt-get install dataset-fashion-mnist
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

import xaijax
from experiments import _tables
from experiments._experiment import Conclusion
from experiments._train import CNN, Examples, Training, train
from xaijax import data, metrics, plot
from xaijax.metrics._controls import edges
from xaijax.propagation import epsilon_plus

SIMILARITIES = ("spearman", "ssim")
FAILING = ("guided backprop", "Guided Grad-CAM")
PASSING = ("gradient", "Grad-CAM")


@dataclasses.dataclass(frozen=True)
class Config:
    """How much is measured.

    Attributes:
      dataset: "fashion_mnist", or "digits", which needs no system package.
      seeds: how many networks.
      num_images: how many test images of each.
      epochs: of training.
      num_samples: of SmoothGrad, and steps of integrated gradients.
    """

    dataset: str = "fashion_mnist"
    seeds: int = 3
    num_images: int = 16
    epochs: int = 3
    num_samples: int = 8


SMOKE = Config(dataset="digits", seeds=2, num_images=4, epochs=4, num_samples=3)


def explainers(f: Any, config: Config) -> dict[str, Any]:
    """The methods, each with the trained network."""
    gradient, n = xaijax.bind(xaijax.saliency, f), config.num_samples
    return {
        "gradient": gradient,
        "SmoothGrad": xaijax.bind(xaijax.smooth_grad, gradient, num_samples=n),
        "input x gradient": xaijax.bind(xaijax.input_x_gradient, f),
        "integrated gradients": xaijax.bind(xaijax.integrated_gradients, f, num_steps=n),
        "Grad-CAM": xaijax.bind(xaijax.grad_cam, f),
        "LRP EpsilonPlus": xaijax.bind(xaijax.lrp, f, composite=epsilon_plus()),
        "guided backprop": xaijax.bind(xaijax.guided_backprop, f),
        "Guided Grad-CAM": xaijax.bind(xaijax.guided_grad_cam, f),
        "DeconvNet": xaijax.bind(xaijax.deconvnet, f),
        "edges": xaijax.bind(edges, f),
    }


@functools.cache
def examples(dataset: str) -> Examples:
    """The data, in 32 x 32 pixels between 0 and 1."""

    def split(name: str) -> tuple[np.ndarray, np.ndarray]:
        found = data.load(dataset, name)
        x = found.x.astype(np.float32) / found.x.max()
        times = 32 // x.shape[1]  # digits have 8 x 8
        x = x.repeat(times, 1).repeat(times, 2)
        edge = (32 - x.shape[1]) // 2
        return np.pad(x, ((0, 0), (edge, edge), (edge, edge), (0, 0))), found.y.astype(np.int32)

    return Examples(split("train"), split("test"), data.load(dataset, "all").fingerprint)


def network(config: Config, seed: int) -> Any:
    """A trained network."""
    known = examples(config.dataset)
    classes = int(known.train[1].max()) + 1
    return train(
        lambda rngs: CNN(1, classes, rngs=rngs), known, Training(epochs=config.epochs), seed
    )


def units(config: Config) -> list[str]:
    """One network each."""
    return [f"seed {seed}" for seed in range(config.seeds)]


def measure(config: Config, unit: str) -> list[dict[str, Any]]:
    """The likeness after each layer, for every method, the mean over images that the network recognises."""
    seed = int(unit.split()[1])
    trained = network(config, seed)
    x, y = examples(config.dataset).test
    right = jax.jit(jax.vmap(trained.model))(jnp.asarray(x[:1000])).argmax(-1) == y[:1000]
    chosen = np.flatnonzero(right)[: config.num_images]
    xs, targets = jnp.asarray(x[chosen]), jnp.asarray(y[chosen])
    keys = jax.random.split(jax.random.key(seed), len(chosen))
    rows = []
    for name, explain in explainers(trained.model, config).items():
        for similarity in SIMILARITIES:
            found = _likeness(explain, (xs, targets, keys), similarity)
            mean = np.nanmean(np.asarray(found.similarities, np.float64), 0)
            rows.append(
                {
                    "explainer": name,
                    "similarity": similarity,
                    "layers": list(found.layers),
                    "values": mean.round(6).tolist(),
                    "accuracy": trained.accuracy,
                    "images": len(chosen),
                }
            )
    return rows


@functools.partial(jax.jit, static_argnums=2)
def _likeness(explain: Any, images: Any, similarity: str) -> Any:
    """The likeness after each layer, for one image after another; one program for the networks of all seeds."""
    details = metrics.model_parameter_randomisation.details

    def one(image: Any) -> Any:
        return details(explain, *image, similarity=similarity, magnitude=True)

    return jax.lax.map(one, images)


def conclude(config: Config, table: pd.DataFrame) -> Conclusion:
    """Who passes."""
    layers = table.layers.iloc[0]
    rows, mean = [], {}
    for (name, similarity), part in table.groupby(["explainer", "similarity"], sort=False):
        values = np.array(part["values"].tolist(), float)
        mean[name, similarity] = metrics.mean_interval(np.nanmean(values, 1))
        cells = {
            "mean over the steps": mean[name, similarity],
            "all but the first layer random": metrics.mean_interval(values[:, -2]),
            "all layers random": metrics.mean_interval(values[:, -1]),
        }
        shown = {title: _tables.interval(*found[:3], digits=2) for title, found in cells.items()}
        verdict = _verdict(mean[name, similarity]) if similarity == "spearman" else ""
        rows.append({"explainer": name, "similarity": similarity, **shown, "verdict": verdict})
    verdicts = {name: _verdict(mean[name, "spearman"]) for name in dict.fromkeys(table.explainer)}
    as_claimed = [n for n in PASSING if verdicts[n] == "passes"]
    as_claimed += [n for n in FAILING if verdicts[n] == "fails"]
    other = [n for n in (*PASSING, *FAILING) if n not in as_claimed]
    effect = (
        "Mean rank correlation that is left: "
        + ", ".join(
            f"{n} {_tables.interval(*mean[n, 'spearman'][:3], digits=2)}"
            for n in (*PASSING, *FAILING)
        )
        + f" (n={config.seeds} networks, {int(table.images.iloc[0])} images each)."
    )
    accuracies = table.drop_duplicates("unit").accuracy
    text = (
        f"Passing: {_list(verdicts, 'passes')}. Failing: {_list(verdicts, 'fails')}. Undecided: "
        f"{_list(verdicts, 'undecided')}. What is multiplied by the input keeps the input's zeros, and with them its "
        "ranks: the background of these pictures is 0. The networks' test accuracy is "
        f"{accuracies.min():.3f} to {accuracies.max():.3f}."
    )
    figures = {
        f"likeness, {s}": draw(table[table.similarity == s], layers, s) for s in SIMILARITIES
    }
    names = (
        "saliency smooth_grad input_x_gradient integrated_gradients grad_cam lrp guided_backprop"
    )
    methods = [getattr(xaijax, n) for n in f"{names} guided_grad_cam deconvnet".split()]
    return Conclusion(
        verdict="only if" if other else "supported",
        only_if=f"it is not about {' and '.join(other)}" if other else "",
        effect=effect,
        text=text,
        tables={"likeness": pd.DataFrame(rows)},
        figures=figures,
        sources=(*methods, metrics.model_parameter_randomisation),
    )


def draw(table: pd.DataFrame, layers: list[str], similarity: str) -> Any:
    """The likeness down the layers, with bands over networks."""
    curves = {
        name: np.array(part["values"].tolist(), float)
        for name, part in table.groupby("explainer", sort=False)
    }
    axes = plot.curves(
        curves,
        x=layers,
        controls=("edges",),
        unit="networks",
        x_label="random from the outputs down to this layer",
        y_label={"spearman": "rank correlation", "ssim": "structural similarity"}[similarity],
        y_limits=(-0.25, 1.05),
    )
    return axes.figure


def _verdict(interval: metrics.Interval) -> str:
    low, high = (interval.low, interval.high) if interval.n > 1 else (interval.mean,) * 2
    return "passes" if high < 0.5 else "fails" if low > 0.5 else "undecided"


def _list(verdicts: dict[str, str], wanted: str) -> str:
    found = [name for name, v in verdicts.items() if v == wanted and name != "edges"]  # the control
    return ", ".join(found) or "none"
