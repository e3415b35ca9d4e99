"""Training the networks that experiments explain: one small loop, whose results are kept by their settings."""

import dataclasses
import functools
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from tqdm import tqdm

import xaijax
from xaijax.core._errors import complaint

#: Of a network in training, inputs and labels of a batch: what is descended. A callable pytree, as
#: `jax.tree_util.Partial(function, beta)`, whose numbers cost no compile.
Loss = Callable[[Any, jax.Array, jax.Array], jax.Array]
#: A training that takes longer is kept so often, to go on from there if it is stopped.
CHECKPOINT_SECONDS = 20.0


@dataclasses.dataclass(frozen=True)
class Training:
    """How a network is trained.

    Attributes:
      epochs: passes over the training examples, at most.
      batch_size: examples of a step.
      learning_rate: of AdamW, at its highest.
      weight_decay: of AdamW.
      patience: stop after so many epochs without a better accuracy on the validation examples.
      schedule: how the learning rate falls: to zero along a cosine; by a factor of ten after a half and after three
        quarters of the epochs, as ResNets are trained; or not at all.
    """

    epochs: int = 8
    batch_size: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    patience: int = 8
    schedule: Literal["cosine", "steps", "constant"] = "cosine"


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
      examples_per_second: of the steps of training, without their compilation, when it was trained; NaN if that is
        not known. No part of a result: it differs from run to run.
    """

    model: Any
    accuracy: float
    examples_per_second: float = float("nan")


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


def mixed(*several: Examples) -> Examples:
    """The examples of several sources as one: a batch has some of each, in proportion to their numbers.

    Raises:
      ValueError: inputs of the sources differ in shape.
    """
    shapes = {x.shape[1:] for source in several for x, _ in (source.train, source.test)}
    if len(shapes) != 1:
        rule = "have inputs of one shape"
        raise ValueError(complaint("mixed", "several", rule, sorted(shapes)))

    def together(parts: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
        # Evenly, so that the last ones, which validate, are of all sources.
        places = np.concatenate([(np.arange(len(x)) + 0.5) / len(x) for x, _ in parts])
        order = np.argsort(places, kind="stable")
        x, y = (np.concatenate(arrays)[order] for arrays in zip(*parts, strict=True))
        return x, y

    fingerprint = " + ".join(source.fingerprint for source in several)
    return Examples(
        together([source.train for source in several]),
        together([source.test for source in several]),
        fingerprint,
    )


def cross_entropy(model: Any, x: jax.Array, y: jax.Array) -> jax.Array:
    """The loss of a classifier: its mean over the batch, in nats."""
    return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()


def train(
    make: Callable[[nnx.Rngs], nnx.Module],
    examples: Examples,
    training: Training,
    seed: int,
    *,
    loss: Loss = cross_entropy,
    name: str = "",
) -> Trained:
    """Train a network, or take it from the cache if it was trained before.

    The weights of the epoch with the best accuracy on the validation examples are kept. The same seed, settings and
    examples give the same network on the same machine, also if the training was stopped on the way and goes on.

    Args:
      make: makes the network.
      examples: what it learns from, and what it is tested on.
      training: how.
      seed: of the weights and of the order of the examples.
      loss: what is descended.
      name: tells the network from others that the cache would take it for: it sees shapes of weights, but neither the
        loss nor settings such as a dilation.

    Raises:
      ValueError: there is a loss of its own, but no name.
    """
    if loss is not cross_entropy and not name:
        rule = "tell networks of this loss from others"
        raise ValueError(complaint("train", "name", rule, "''", "Such as 'fostered, beta 1'."))
    model = make(nnx.Rngs(seed))
    path = _cache(model, examples, training, seed, name)
    if path.exists():
        speed = _load(model, path)
    else:
        partial = loss if isinstance(loss, jax.tree_util.Partial) else jax.tree_util.Partial(loss)
        saved = path.with_suffix(".checkpoints")
        speed = _fit(model, examples, training, seed, partial, saved)
        _save(model, path, speed)
        shutil.rmtree(saved, ignore_errors=True)
    model.eval()
    return Trained(xaijax.as_model(model), accuracy(model, *examples.test), speed)


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


def _fit(
    model: nnx.Module,
    examples: Examples,
    training: Training,
    seed: int,
    loss: jax.tree_util.Partial,
    saved: Path,
) -> float:
    """Train the network, from the last checkpoint if there is one; returns the examples per second."""
    (x, y), validation = examples.split()
    steps = len(x) // training.batch_size
    if steps < 1:
        rule = f"be at most {len(x)}, the number of training examples"
        raise ValueError(complaint("train", "batch_size", rule, training.batch_size))
    settings = training.learning_rate, training.epochs * steps, training.weight_decay
    optimizer = nnx.Optimizer(model, _rule(*settings, training.schedule), wrt=nnx.Param)
    rng = np.random.default_rng(seed)
    at = _Progress(0, -1.0, 0, nnx.state(model)).restored(saved, model, optimizer)
    rates, written = [], time.monotonic()
    bar = tqdm(range(training.epochs), desc="training", leave=False, disable=None)
    for epoch in bar:
        order = rng.permutation(len(x))[: steps * training.batch_size]
        if epoch < at.epoch:  # before the checkpoint: its draw alone
            continue
        if at.since >= training.patience:
            break
        model.train()
        start = time.perf_counter()
        for rows in order.reshape(steps, training.batch_size):
            value = _step(model, optimizer, loss, jnp.asarray(x[rows]), jnp.asarray(y[rows]))
        jax.block_until_ready(value)
        rates.append(len(order) / (time.perf_counter() - start))
        model.eval()
        found = accuracy(model, *validation)
        bar.set_postfix(
            loss=f"{float(value):.3f}", accuracy=f"{found:.4f}", per_s=f"{rates[-1]:.0f}"
        )
        at = at.after(model, found)
        if time.monotonic() - written >= CHECKPOINT_SECONDS:
            at.save(saved, model, optimizer)
            written = time.monotonic()
    nnx.update(model, at.kept)
    return float(np.median(rates[1:])) if len(rates) > 1 else float("nan")  # the first compiles


@dataclasses.dataclass(frozen=True)
class _Progress:
    """How far a training is: epochs done, the best accuracy, epochs since then, and the weights there."""

    epoch: int
    best: float
    since: int
    kept: Any

    def after(self, model: nnx.Module, found: float) -> "_Progress":
        """One epoch later."""
        if found > self.best:
            copied = jax.tree.map(jnp.copy, nnx.state(model))
            return _Progress(self.epoch + 1, found, 0, copied)
        return dataclasses.replace(self, epoch=self.epoch + 1, since=self.since + 1)

    def save(self, saved: Path, model: nnx.Module, optimizer: nnx.Optimizer) -> None:
        """Write a checkpoint: whole, or not at all."""
        with _checkpoints(saved) as manager:
            manager.save(self.epoch, args=_orbax().args.StandardSave(self._tree(model, optimizer)))

    def restored(self, saved: Path, model: nnx.Module, optimizer: nnx.Optimizer) -> "_Progress":
        """What the last checkpoint says, with the network and the optimiser as they were; itself if there is none."""
        if not saved.exists():
            return self
        with _checkpoints(saved) as manager:
            step = manager.latest_step()
            if step is None:
                return self
            like = self._tree(model, optimizer)
            tree = manager.restore(step, args=_orbax().args.StandardRestore(like))
        for name, node in (("model", model), ("optimizer", optimizer)):
            nnx.update(node, _as(nnx.state(node), tree[name]))
        best, since = float(tree["best"]), int(tree["since"])
        return _Progress(step, best, since, _as(self.kept, tree["kept"]))

    def _tree(self, model: nnx.Module, optimizer: nnx.Optimizer) -> dict[str, Any]:
        states = {"model": nnx.state(model), "optimizer": nnx.state(optimizer), "kept": self.kept}
        numbered = {name: dict(_numbered(state)) for name, state in states.items()}
        return {**numbered, "best": np.array(self.best), "since": np.array(self.since)}


def _numbered(state: Any) -> list[tuple[str, np.ndarray]]:
    return [(f"{i:04}", np.asarray(leaf)) for i, leaf in enumerate(jax.tree.leaves(state))]


def _as(state: Any, numbered: dict[str, np.ndarray]) -> Any:
    leaves = [jnp.asarray(numbered[name]) for name, _ in _numbered(state)]
    return jax.tree.unflatten(jax.tree.structure(state), leaves)


def _checkpoints(saved: Path) -> Any:
    ocp = _orbax()
    options = ocp.CheckpointManagerOptions(max_to_keep=1, enable_async_checkpointing=False)
    return ocp.CheckpointManager(saved.resolve(), options=options)


def _orbax() -> Any:
    """Flax needs it, but it takes seconds to load."""
    import orbax.checkpoint

    return orbax.checkpoint


@functools.cache
def _rule(
    learning_rate: float, steps: int, weight_decay: float, schedule: str
) -> optax.GradientTransformation:
    """The same rule for the same settings: it is a static part of the step, and a new one would compile it anew."""
    rate: Any = learning_rate
    if schedule == "cosine":
        rate = optax.cosine_decay_schedule(learning_rate, steps)
    elif schedule == "steps":
        falls = {steps // 2: 0.1, steps * 3 // 4: 0.1}
        rate = optax.piecewise_constant_schedule(learning_rate, falls)
    elif schedule != "constant":
        rule = "be 'cosine', 'steps' or 'constant'"
        raise ValueError(complaint("train", "schedule", rule, repr(schedule)))
    return optax.adamw(rate, weight_decay=weight_decay)


@nnx.jit
def _step(
    model: nnx.Module,
    optimizer: nnx.Optimizer,
    loss: jax.tree_util.Partial,
    x: jax.Array,
    y: jax.Array,
) -> jax.Array:
    value, gradient = nnx.value_and_grad(lambda model: loss(model, x, y))(model)
    optimizer.update(model, gradient)
    return value


def _cache(
    model: nnx.Module, examples: Examples, training: Training, seed: int, name: str = ""
) -> Path:
    """Where the weights of a network with these settings are kept."""
    shapes = {name: list(a.shape) for name, a in _arrays(model).items()}
    how = dataclasses.asdict(training)
    if training.schedule == "cosine":  # as all were before there were others
        del how["schedule"]
    settings = [type(model).__qualname__, shapes, examples.fingerprint]
    settings += [how, seed, xaijax.provenance()["packages"], *([name] if name else [])]
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "xaijax" / "experiments" / f"{digest}.safetensors"


def _arrays(model: nnx.Module) -> dict[str, np.ndarray]:
    state = nnx.to_pure_dict(nnx.state(model, nnx.Any(nnx.Param, nnx.BatchStat)))
    flat, _ = jax.tree.flatten_with_path(state)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in flat}


def _save(model: nnx.Module, path: Path, speed: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.{os.getpid()}")
    save_file(_arrays(model), new, {"examples_per_second": str(speed)})
    os.replace(new, path)


def _load(model: nnx.Module, path: Path) -> float:
    """Set the weights; returns the examples per second of their training, if they are known."""
    arrays = load_file(path)
    state = nnx.state(model, nnx.Any(nnx.Param, nnx.BatchStat))
    pure = nnx.to_pure_dict(state)
    restored = jax.tree.map_with_path(
        lambda p, leaf: jnp.asarray(arrays[jax.tree_util.keystr(p)]), pure
    )
    nnx.replace_by_pure_dict(state, restored)
    nnx.update(model, state)
    with safe_open(path, "np") as file:
        return float((file.metadata() or {}).get("examples_per_second", "nan"))
