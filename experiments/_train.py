"""Training the networks that experiments explain: one small loop, whose results are kept by their settings."""

import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from safetensors.numpy import load_file, save_file
from tqdm import tqdm

import xaijax


@dataclasses.dataclass(frozen=True)
class Training:
    """How a network is trained.

    Attributes:
      epochs: passes over the training examples, at most.
      batch_size: examples of a step.
      learning_rate: of AdamW; it falls to zero along a cosine.
      weight_decay: of AdamW.
      patience: stop after so many epochs without a better accuracy on the validation examples.
    """

    epochs: int = 8
    batch_size: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    patience: int = 8


class CNN(nnx.Module):
    """Four 3 x 3 convolutions with batch norm and ReLU, three poolings, the mean of the positions, a dense layer.

    Its last feature map has an eighth of the input's height and width.
    """

    def __init__(self, channels: int, num_classes: int, *, rngs: nnx.Rngs) -> None:
        widths = (16, 32, 64, 64)
        before = (channels, *widths[:-1])
        self.convs = nnx.List(
            [nnx.Conv(n, m, (3, 3), rngs=rngs) for n, m in zip(before, widths, strict=True)]
        )
        self.norms = nnx.List([nnx.BatchNorm(m, momentum=0.9, rngs=rngs) for m in widths])
        self.dense = nnx.Linear(widths[-1], num_classes, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """One image `(h, w, c)` or a batch to logits."""
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            x = nnx.relu(norm(conv(x)))
            if i < 3:
                x = nnx.max_pool(x, (2, 2), (2, 2))
        return self.dense(x.mean((-3, -2)))


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained network.

    Attributes:
      model: as explainers take it, one example to logits.
      accuracy: on the test examples, which took no part in training.
    """

    model: Any
    accuracy: float


@dataclasses.dataclass(frozen=True)
class Examples:
    """What a network is trained and tested on.

    Attributes:
      train: inputs and labels.
      test: inputs and labels.
      fingerprint: tells these examples from others.
    """

    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]
    fingerprint: str

    def split(self, part: float = 0.1) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
        """The training examples without the last ones, and these, for validation."""
        x, y = self.train
        count = max(int(len(x) * part), 1)
        return (x[:-count], y[:-count]), (x[-count:], y[-count:])


def train(
    make: Callable[[nnx.Rngs], nnx.Module], examples: Examples, training: Training, seed: int
) -> Trained:
    """Train a network, or take it from the cache if it was trained before.

    The weights of the epoch with the best accuracy on the validation examples are kept. The same seed, settings and
    examples give the same network on the same machine.

    Args:
      make: makes the network.
      examples: what it learns from, and what it is tested on.
      training: how.
      seed: of the weights and of the order of the examples.
    """
    model = make(nnx.Rngs(seed))
    path = _cache(model, examples, training, seed)
    if path.exists():
        _load(model, path)
    else:
        _fit(model, examples, training, seed)
        _save(model, path)
    model.eval()
    return Trained(xaijax.as_model(model), accuracy(model, *examples.test))


def accuracy(model: nnx.Module, x: np.ndarray, y: np.ndarray, batch_size: int = 500) -> float:
    """How many examples have their label as the highest score."""
    right = 0
    for start in range(0, len(x), batch_size):
        logits = _logits(model, jnp.asarray(x[start : start + batch_size]))
        right += int((logits.argmax(-1) == y[start : start + batch_size]).sum())
    return right / len(x)


@nnx.jit
def _logits(model: nnx.Module, x: jax.Array) -> jax.Array:
    return model(x)


def _fit(model: nnx.Module, examples: Examples, training: Training, seed: int) -> None:
    (x, y), validation = examples.split()
    steps = len(x) // training.batch_size
    rule = _rule(training.learning_rate, training.epochs * steps, training.weight_decay)
    optimizer = nnx.Optimizer(model, rule, wrt=nnx.Param)
    rng = np.random.default_rng(seed)
    best, kept, since = -1.0, nnx.state(model), 0
    bar = tqdm(range(training.epochs), desc="training", leave=False, disable=None)
    for _ in bar:
        model.train()
        order = rng.permutation(len(x))[: steps * training.batch_size]
        for rows in order.reshape(steps, training.batch_size):
            value = _step(model, optimizer, jnp.asarray(x[rows]), jnp.asarray(y[rows]))
        model.eval()
        found = accuracy(model, *validation)
        bar.set_postfix(loss=f"{float(value):.3f}", accuracy=f"{found:.4f}")
        since += 1
        if found > best:
            best, kept, since = found, jax.tree.map(jnp.copy, nnx.state(model)), 0
        if since >= training.patience:
            break
    nnx.update(model, kept)


@functools.cache
def _rule(learning_rate: float, steps: int, weight_decay: float) -> optax.GradientTransformation:
    """The same rule for the same settings: it is a static part of the step, and a new one would compile it anew."""
    schedule = optax.cosine_decay_schedule(learning_rate, steps)
    return optax.adamw(schedule, weight_decay=weight_decay)


@nnx.jit
def _step(model: nnx.Module, optimizer: nnx.Optimizer, x: jax.Array, y: jax.Array) -> jax.Array:
    def loss(model: nnx.Module) -> jax.Array:
        return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()

    value, gradient = nnx.value_and_grad(loss)(model)
    optimizer.update(model, gradient)
    return value


def _cache(model: nnx.Module, examples: Examples, training: Training, seed: int) -> Path:
    """Where the weights of a network with these settings are kept."""
    shapes = {name: list(a.shape) for name, a in _arrays(model).items()}
    settings = [type(model).__qualname__, shapes, examples.fingerprint]
    settings += [dataclasses.asdict(training), seed, xaijax.provenance()["packages"]]
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "xaijax" / "experiments" / f"{digest}.safetensors"


def _arrays(model: nnx.Module) -> dict[str, np.ndarray]:
    state = nnx.to_pure_dict(nnx.state(model, nnx.Any(nnx.Param, nnx.BatchStat)))
    flat, _ = jax.tree.flatten_with_path(state)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in flat}


def _save(model: nnx.Module, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.{os.getpid()}")
    save_file(_arrays(model), new)
    os.replace(new, path)


def _load(model: nnx.Module, path: Path) -> None:
    arrays = load_file(path)
    state = nnx.state(model, nnx.Any(nnx.Param, nnx.BatchStat))
    pure = nnx.to_pure_dict(state)
    restored = jax.tree.map_with_path(
        lambda p, leaf: jnp.asarray(arrays[jax.tree_util.keystr(p)]), pure
    )
    nnx.replace_by_pure_dict(state, restored)
    nnx.update(model, state)
