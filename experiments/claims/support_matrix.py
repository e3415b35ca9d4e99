"""Which explanations does which model allow, and is Grad-CAM among those for any model?

Claim: "Grad-CAM: local, white box, post hoc, model agnostic" (popular overviews of explanation methods).

Six models: a logistic regression, a decision tree, a random forest and a small neural network (MLP) on ten measurements
of Wisconsin breast cancer; on drawn shapes a convolutional network with global average pooling, and one with dense
layers. The tree and the forest are scikit-learn's, of which only the answers can be had, but for TreeSHAP, which reads
them; the others are functions that JAX can differentiate. Every explainer of the library is asked to explain each, with
what it needs beside: a background, features, the layer that is to be read.

Measured: whether it explains (all values finite, not all the same), says nothing (all values the same), or refuses with
an error that says why. Any other exception stops the experiment. A method that looks for a layer and finds none gets
the MLP's hidden layer by name, and another chance. Unit of replication: the kind of model; whether a method applies to
one is a property of both, which has no interval. Each is asked for several examples, and explains if it does so for
all.

The claim holds if Grad-CAM explains all six models; it is refuted if it does not. As a check of the experiment, the
methods that ask for nothing but the model's answers must explain all six.

Expected: Grad-CAM explains the two convolutional networks, with dense layers, too, and refuses the other four. CAM
explains that with global average pooling alone. LIME, Shapley values, ablation and occlusion explain all; gradients all
but tree and forest; TreeSHAP these alone. Test accuracy of the tabular models at least 0.9, of the convolutional ones
0.99.

Needs: pip install "xaijax[evaluate,plot,train,data]"
"""

import dataclasses
import functools
import inspect
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

import xaijax
from experiments._architectures import trained
from experiments._experiment import Conclusion
from experiments._networks import shapes_test
from xaijax import data, intrinsic

MODELS = {
    "logistic regression": "any",
    "decision tree": "any",
    "random forest": "any",
    "MLP": "any",
    "CNN, GAP": "CNN",
    "CNN, dense": "CNN",
}
# They explain what the method that they are made of explains: here the gradient.
COMBINED = ("aug_smooth", "smooth_grad", "smooth_grad_squared", "var_grad")
EXPLAINS, FLAT = "explains", "says nothing"
MEASUREMENTS = 10  # of 30: the means, without their errors and extremes
HIDDEN = 16  # units of the MLP


@dataclasses.dataclass(frozen=True)
class Config:
    """How much is measured.

    Attributes:
      models: names of `MODELS`.
      methods: names of `xaijax.explainers()`; all that are post-hoc by default.
      num_examples: explained.
      num_samples: of the sampling methods.
      epochs: of the training of the convolutional networks.
      num_train: images that they learn from.
    """

    models: tuple[str, ...] = tuple(MODELS)
    methods: tuple[str, ...] = ()
    num_examples: int = 3
    num_samples: int = 64
    epochs: int = 8
    num_train: int = 8000


SMOKE = Config(
    models=("logistic regression", "random forest", "CNN, dense"),
    methods=("cam", "grad_cam", "kernel_shap", "saliency"),
    num_examples=1,
    num_samples=32,
    epochs=1,
    num_train=400,
)


class Case(NamedTuple):
    """A model and what methods need to explain it.

    Attributes:
      f: the model, one example to scores.
      read: the model as methods for its kind alone take it.
      xs: examples.
      targets: their classes.
      background: other examples.
      mask: what the features are.
      window: that occlusion hides.
      layer: a hidden layer that has no positions, for methods that find none themselves.
      accuracy: on examples that took no part in training.
    """

    f: Any
    read: Any
    xs: jax.Array
    targets: jax.Array
    background: jax.Array
    mask: Any
    window: tuple[int, ...]
    layer: str | None
    accuracy: float


def units(config: Config) -> list[str]:
    """One model each."""
    return list(config.models)


def measure(config: Config, unit: str) -> list[dict[str, Any]]:
    """What every method makes of a model."""
    case = image_case(config, unit) if MODELS[unit] == "CNN" else table_case(config, unit)
    rows = []
    for name in config.methods or _post_hoc():
        explainer = xaijax.explainers()[name]
        answers = [_answer(explainer, case, config, i) for i in range(config.num_examples)]
        worst = next((a for a in answers if a != EXPLAINS), EXPLAINS)
        known = worst in (EXPLAINS, FLAT)
        rows.append(
            {
                "explainer": name,
                "family": explainer.taxonomy.models,
                "answer": worst if known else "refuses",
                "message": "" if known else worst,
                "accuracy": case.accuracy,
            }
        )
    return rows


def _post_hoc() -> tuple[str, ...]:
    """What explains models that do not explain themselves, as those here."""
    known = xaijax.explainers().items()
    return tuple(name for name, explain in known if explain.taxonomy.stage == "post-hoc")


def _answer(explainer: Any, case: Case, config: Config, i: int) -> str:
    """What one method says of one example; the message of its error."""
    x, key = case.xs[i], jax.random.key(i)
    found, message = None, ""
    # A method that finds no layer itself is asked once more, with the hidden layer.
    for named in ({}, {"layer": case.layer}) if case.layer else ({},):
        try:
            explain = _bound(explainer, case, config, named)
            found = explain(x, case.targets[i], *([key] if explain.takes_key else []))
            break
        except (ValueError, TypeError, NotImplementedError) as error:
            message = str(error).splitlines()[0]
    if found is None:
        return message
    values = np.asarray(found, np.float64)
    if not np.isfinite(values).all():
        return f"{explainer.__name__}: all values are NaN"  # of linear_shap, where the model is not linear
    return EXPLAINS if values.max() > values.min() else FLAT


def _bound(explainer: Any, case: Case, config: Config, named: dict[str, Any]) -> Any:
    """The method with the model and what it asks for."""
    offered = {
        "mask": case.mask,
        "num_samples": config.num_samples,
        "num_permutations": 2,
        "num_steps": 8,
        "window": case.window,
        "baselines": case.background,
        "background": case.background,
        **named,
    }
    asked = inspect.signature(explainer).parameters
    settings = {name: value for name, value in offered.items() if name in asked}
    inner = explainer.__name__ in COMBINED
    f = case.read if explainer.taxonomy.models == "trees" else case.f
    return xaijax.bind(explainer, xaijax.bind(xaijax.saliency, f) if inner else f, **settings)


def image_case(config: Config, name: str) -> Case:
    """A convolutional network of shapes; the features are the four quarters of the image."""
    kind = {"CNN, GAP": "plain, GAP", "CNN, dense": "plain, dense"}[name]
    network = trained(kind, 0, epochs=config.epochs, num_train=config.num_train)
    drawn = shapes_test(config.num_examples + 8)
    quarters = xaijax.superpixels(np.zeros(drawn.images.shape[1:]), "grid", rows=2, columns=2)
    n = config.num_examples
    return Case(
        network.model,
        network.model,
        drawn.images[:n],
        drawn.labels[:n],
        drawn.images[n:],
        xaijax.segments(quarters, hidden=0.0),
        (8, 8),
        None,
        network.accuracy,
    )


def table_case(config: Config, name: str) -> Case:
    """A model of breast cancer; the features are the measurements, hidden by those of other patients."""
    train, test = _patients()
    f, read, accuracy = _fitted(name)
    background = jnp.asarray(train[0][:8])
    hidden = [a.name for a in xaijax.layers(f, background[0]) if a.shape == (HIDDEN,)]
    n = config.num_examples
    return Case(
        f,
        read,
        jnp.asarray(test[0][:n]),
        jnp.asarray(test[1][:n]),
        background,
        xaijax.columns(background),
        (1,),
        hidden[-1] if hidden else None,
        accuracy,
    )


@functools.cache
def _patients() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Patients to learn from, and every fifth to test on; each measurement has mean 0 and deviation 1."""
    found = data.load("breast_cancer", "all")
    x, y = found.x[:, :MEASUREMENTS].astype(np.float64), found.y.astype(np.int32)
    held = np.arange(len(y)) % 5 == 0
    x = (x - x[~held].mean(0)) / x[~held].std(0)
    x = x.astype(np.float32)
    return (x[~held], y[~held]), (x[held], y[held])


def _fitted(name: str) -> tuple[Any, Any, float]:
    """A model as explainers take it, as those of its kind alone do, and its accuracy."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.tree import DecisionTreeClassifier

    model = {
        "logistic regression": LogisticRegression(),
        "decision tree": DecisionTreeClassifier(max_depth=4, random_state=0),
        "random forest": RandomForestClassifier(50, max_depth=6, random_state=0),
        "MLP": MLPClassifier((HIDDEN,), max_iter=1000, random_state=0),
    }[name]
    train, test = _patients()
    model.fit(*train)
    read = None
    if name == "MLP":
        f = jax.tree_util.Partial(_dense, model.coefs_, model.intercepts_)
    elif name == "logistic regression":
        f = jax.tree_util.Partial(_dense, [model.coef_.T], [model.intercept_])
    else:
        f = xaijax.black_box(model.predict_proba, num_outputs=2)
        read = intrinsic.read_trees(model)
    return f, read or f, float(model.score(*test))


def _dense(weights: Any, biases: Any, x: jax.Array) -> jax.Array:
    """Dense layers with ReLU between them; the logits of both classes, which differ by the last layer's answer."""
    for i, (w, b) in enumerate(zip(weights, biases, strict=True)):
        x = (jax.nn.relu(x) if i else x) @ jnp.asarray(w, x.dtype) + jnp.asarray(b, x.dtype)
    return jnp.concatenate([-x / 2, x / 2])


def conclude(config: Config, table: pd.DataFrame) -> Conclusion:
    """What Grad-CAM explains, and what explains everything."""
    explains = table.assign(yes=table.answer == EXPLAINS).pivot(
        index="explainer", columns="unit", values="yes"
    )[list(config.models)]
    explains = explains.loc[list(dict.fromkeys(table.explainer))]
    gradcam = explains.loc["grad_cam"]
    family = table.drop_duplicates("explainer").set_index("explainer").family
    agnostic = [name for name in explains.index if explains.loc[name].all()]
    told = [name for name in explains.index if family[name] == "any"]
    count = int(gradcam.sum())
    refused = table[(table.explainer == "grad_cam") & (table.answer == "refuses")]
    effect = (
        f"Grad-CAM explains {count} of {len(gradcam)} models: "
        f"{', '.join(gradcam.index[gradcam]) or 'none'}; {len(agnostic)} of {len(explains)} methods explain all."
    )
    broken = sorted(set(told) - set(agnostic) - set(COMBINED))
    text = (
        f"All models are explained by {', '.join(agnostic) or 'none'}. "
        f"Grad-CAM refuses {', '.join(refused.unit) or 'none'}, with "
        f"{' / '.join(sorted(set(refused.message))) or 'no message'} "
        f"CAM explains {', '.join(explains.columns[explains.loc['cam']]) or 'none'}. "
        f"Said to explain any model, but refusing one: {', '.join(broken) or 'none'}. Test accuracies: "
        + ", ".join(
            f"{r.unit} {r.accuracy:.3f}" for r in table.drop_duplicates("unit").itertuples()
        )
        + "."
    )
    return Conclusion(
        verdict="supported" if bool(gradcam.all()) else "refuted",
        effect=effect,
        text=text,
        tables={
            "support": table.pivot(index="explainer", columns="unit", values="answer")
            .loc[list(explains.index), list(config.models)]
            .reset_index()
            .rename_axis(columns=None),
            "refusals": table[table.message != ""][["unit", "explainer", "message"]].reset_index(
                drop=True
            ),
            "models": table.drop_duplicates("unit")[["unit", "accuracy"]].reset_index(drop=True),
        },
        figures={"support": draw(config, table)},
        sources=tuple(xaijax.explainers()[name] for name in explains.index),
    )


def draw(config: Config, table: pd.DataFrame) -> Any:
    """Explainers by models; those for the same family of models together."""
    from matplotlib import pyplot as plt
    from matplotlib.colors import ListedColormap

    codes = {"refuses": 0, FLAT: 1, EXPLAINS: 2}
    first = table.drop_duplicates("explainer")
    wide = table.assign(code=table.answer.map(codes)).pivot(
        index="explainer", columns="unit", values="code"
    )
    counts = (wide == codes[EXPLAINS]).sum(axis=1)
    order = sorted(first.explainer, key=lambda name: (-counts[name], name))
    shown = wide.loc[order, list(config.models)].to_numpy()
    figure, axis = plt.subplots(
        figsize=(2.6 + 1.0 * len(config.models), 1.2 + 0.24 * len(order)), layout="constrained"
    )
    axis.imshow(
        shown, cmap=ListedColormap(["#f0f0f0", "#f0c060", "#3b7fb8"]), vmin=0, vmax=2, aspect="auto"
    )
    marks = {0: ("–", "0.45"), 1: ("flat", "0.1"), 2: ("✓", "white")}
    for (i, j), code in np.ndenumerate(shown):
        mark, colour = marks[int(code)]
        axis.text(j, i, mark, ha="center", va="center", color=colour, fontsize=8)
    axis.set_xticks(range(len(config.models)), list(config.models), rotation=30, ha="left")
    axis.xaxis.tick_top()
    axis.set_yticks(range(len(order)), order, fontsize=8)
    for label in axis.get_yticklabels():
        if label.get_text() == "grad_cam":
            label.set_fontweight("bold")
    axis.tick_params(length=0)
    axis.set_xlabel(
        "✓ explains; flat: the same value everywhere; –: refuses, with an error that says why",
        fontsize=8,
    )
    axis.spines[:].set_visible(False)
    axis.set_xticks(np.arange(len(config.models) + 1) - 0.5, minor=True)
    axis.set_yticks(np.arange(len(order) + 1) - 0.5, minor=True)
    axis.grid(which="minor", color="white", lw=1.5)
    axis.tick_params(which="minor", length=0)
    return figure
