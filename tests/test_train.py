"""The training loop of the experiments: its losses and schedules, what it keeps, and that it goes on where it was."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from experiments import _train
from experiments._train import Examples, Training, cross_entropy, mixed, train


class Small(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Conv(1, 4, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(4, momentum=0.9, rngs=rngs)
        self.dense = nnx.Linear(4, 2, rngs=rngs)

    def __call__(self, x):
        return self.dense(nnx.relu(self.norm(self.conv(x))).mean((-3, -2)))


def bright(seed, n=160):
    """Images that are bright or dark."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n).astype(np.int32)
    x = rng.normal(size=(n, 6, 6, 1)) + 0.6 * y[:, None, None, None]
    return x.astype(np.float32), y


@pytest.fixture
def examples():
    return Examples(bright(0), bright(1), "bright")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "xaijax" / "experiments"


TRAINING = Training(epochs=5, batch_size=16, learning_rate=0.02)


def weights(trained):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(trained.model)]


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(weights(a), weights(b), strict=True))


def test_network_learns_and_is_kept(examples, cache, count_compiles):
    first = train(Small, examples, TRAINING, 0)
    assert first.accuracy > 0.8
    assert [path.suffix for path in cache.iterdir()] == [".safetensors"]
    with count_compiles() as compiled:
        again = train(Small, examples, TRAINING, 0)
    assert same(first, again)
    assert not [name for name in compiled if "step" in name]
    assert again.examples_per_second == first.examples_per_second > 0
    assert not same(first, train(Small, examples, TRAINING, 1))


def test_stopped_training_goes_on_and_ends_with_the_same_weights(examples, cache, monkeypatch):
    whole = train(Small, examples, TRAINING, 0)
    (path,) = cache.iterdir()
    monkeypatch.setattr(_train, "CHECKPOINT_SECONDS", 0.0)
    step, calls = _train._step, []

    def killed(*args):
        calls.append(args)
        if len(calls) == stop:
            raise KeyboardInterrupt
        return step(*args)

    monkeypatch.setattr(_train, "_step", killed)
    for stop in (2, 9 + 4, 3 * 9):  # nine steps are an epoch; one after the other
        path.unlink(missing_ok=True)
        calls.clear()
        with pytest.raises(KeyboardInterrupt):
            train(Small, examples, TRAINING, 0)
        assert path.with_suffix(".checkpoints").exists() == (stop > 9)
    stop = 0
    calls.clear()
    again = train(Small, examples, TRAINING, 0)
    assert len(calls) == 9 * (5 - 3)  # what the third one kept
    assert same(whole, again)
    assert list(cache.iterdir()) == [path]


def test_damaged_checkpoint_is_not_taken_for_one(examples, cache, monkeypatch):
    """A folder that was being written when the process ended."""
    whole = train(Small, examples, TRAINING, 0)
    (path,) = cache.iterdir()
    path.unlink()
    (path.with_suffix(".checkpoints") / "2.orbax-checkpoint-tmp").mkdir(parents=True)
    assert same(whole, train(Small, examples, TRAINING, 0))


def weighted(weight, model, x, y):
    return weight * cross_entropy(model, x, y)


def test_loss_of_its_own_shares_one_program_for_its_numbers(examples, count_compiles):
    with count_compiles() as compiled:
        found = [
            train(
                Small, examples, TRAINING, 0, loss=jax.tree_util.Partial(weighted, w), name=f"{w}"
            )
            for w in (0.0, 1.0)
        ]
    assert len([name for name in compiled if "step" in name]) == 1
    assert not same(*found)
    plain = train(Small, examples, TRAINING, 0)
    for a, b in zip(weights(found[1]), weights(plain), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
    with pytest.raises(ValueError, match="name must tell networks of this loss from others"):
        train(Small, examples, TRAINING, 0, loss=weighted)


def test_batch_larger_than_the_examples(examples):
    with pytest.raises(ValueError, match="batch_size must be at most 144"):
        train(Small, examples, Training(batch_size=145), 0)


def test_cache_tells_networks_apart(examples):
    model = Small(nnx.Rngs(0))
    paths = [
        _train._cache(model, examples, TRAINING, 0),
        _train._cache(model, examples, TRAINING, 1),
        _train._cache(model, examples, TRAINING, 0, "other"),
        _train._cache(model, examples, Training(epochs=6), 0),
        _train._cache(model, examples, Training(epochs=6, schedule="steps"), 0),
        _train._cache(model, examples, Training(epochs=6, schedule="constant"), 0),
    ]
    assert len(set(paths)) == len(paths)
    assert paths[0] == _train._cache(model, examples, TRAINING, 0, "")


def test_schedules():
    """By how far the first coordinate moves: AdamW's steps have the length of the learning rate."""
    moved = {}
    for name in ("cosine", "steps", "constant"):
        rule = _train._rule(0.1, 8, 0.0, name)
        w, lengths = jnp.zeros(1), []
        state = rule.init(w)
        for _ in range(8):
            update, state = rule.update(jnp.ones(1), state, w)
            lengths.append(-float(update[0]))
        moved[name] = lengths
    np.testing.assert_allclose(moved["constant"], 0.1, rtol=1e-4)
    np.testing.assert_allclose(moved["steps"], [0.1] * 4 + [0.01] * 2 + [0.001] * 2, rtol=1e-4)
    expected = 0.05 * (1 + np.cos(np.pi * np.arange(8) / 8))
    np.testing.assert_allclose(moved["cosine"], expected, rtol=1e-4)
    with pytest.raises(ValueError, match="schedule must be 'cosine', 'steps' or 'constant'"):
        _train._rule(0.1, 8, 0.0, "linear")


def test_batches_of_several_sources():
    x, y = bright(0, 40)
    a = Examples((x, y), (x, y), "a")
    b = Examples((x[:10] + 9, y[:10]), (x[:10] + 9, y[:10]), "b")
    both = mixed(a, b)
    assert both.fingerprint == "a + b"
    (train_x, train_y), (last, _) = both.split()
    assert len(train_x) + len(last) == 50
    assert {bool(v) for v in last.mean((1, 2, 3)) > 4} == {False, True}
    known = {
        v.tobytes(): t for v, t in zip(np.concatenate([x, x[:10] + 9]), [*y, *y[:10]], strict=True)
    }
    assert all(known[v.tobytes()] == t for v, t in zip(train_x, train_y, strict=True))
    with pytest.raises(ValueError, match="several must have inputs of one shape"):
        mixed(a, Examples((x[:, 1:], y), (x[:, 1:], y), "c"))


def test_default_loss_is_the_cross_entropy(examples):
    model = Small(nnx.Rngs(0))
    x, y = examples.test
    model.train()
    expected = optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()
    np.testing.assert_allclose(cross_entropy(model, x, y), expected)
