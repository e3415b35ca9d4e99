"""What both sides explain, in a folder: the driver writes it once, and every process reads the same numbers."""

import functools
import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

import xaijax

#: Images are of this size.
SIZE = 224
#: Rows of the table that are explained, in one call of ours and one after another of the peer's.
ROWS = 4
#: The class of the table that is explained.
TABLE_TARGET = 1
#: How many rows the table's model answers in a bare prediction.
PREDICTED = 8192
_BACKGROUND = 100


class Data(NamedTuple):
    """The folder, and how a process is asked to use it.

    Attributes:
      folder: where the files are.
      device: `"cpu"` or `"gpu"`.
      variant: `"plain"`, or `"best"` for PyTorch as fast as it gets.
    """

    folder: Path
    device: str = "cpu"
    variant: str = "plain"

    def read(self, name: str) -> np.ndarray:
        """An array."""
        return np.load(self.folder / f"{name}.npy")

    def images(self, batch: int) -> np.ndarray:
        """Different images `(batch, height, width, 3)`, as a network sees them."""
        return self.read("images")[:batch]

    def target(self, network: str) -> int:
        """The class that is explained: the network's own first choice."""
        return json.loads((self.folder / "targets.json").read_text("utf-8"))[network]

    def weights(self, network: str) -> Path:
        """The file of a network of torchvision."""
        return self.folder / f"{network}.pth"

    def table(self, num_features: int = 30) -> np.ndarray:
        """The standardised rows."""
        return self.read("rows")[:, :num_features]

    def background(self, num_features: int = 30) -> np.ndarray:
        """Rows in the place of what is hidden."""
        rows = self.table(num_features)
        return rows[:: len(rows) // _BACKGROUND][:_BACKGROUND]

    def columns(self, num_features: int = 30) -> Any:
        """The same as a mask of ours."""
        return xaijax.columns(jnp.asarray(self.background(num_features)))

    def forest(self) -> Any:
        """A random forest of scikit-learn that has learnt from the standardised rows."""
        from benchmarks import workloads

        return workloads.fit_forest(self.table(), self.read("classes"))

    def table_model(self, num_features: int = 30) -> Any:
        """The MLP of the table, which answers with probabilities."""
        with np.load(self.folder / f"mlp{num_features}.npz") as weights:
            layers = [jnp.asarray(weights[f"arr_{i}"]) for i in range(len(weights.files))]
        return xaijax.probabilities(Partial(_mlp, layers))


def _mlp(layers: list[jax.Array], x: jax.Array) -> jax.Array:
    """A bias and a kernel for each layer."""
    *hidden, last = zip(layers[::2], layers[1::2], strict=True)
    for bias, kernel in hidden:
        x = jax.nn.relu(x @ kernel + bias)
    bias, kernel = last
    return x @ kernel + bias


def write(folder: Path) -> None:
    """Write what needs no network: images, superpixels, the table and its models."""
    from benchmarks import workloads

    image, _ = workloads.photograph()
    np.save(folder / "images.npy", np.asarray(workloads.workload("efficientnet_lite0").xs))
    np.save(folder / "segments.npy", xaijax.superpixels(image))
    rows, classes = workloads.breast_cancer()
    np.save(folder / "rows.npy", rows)
    np.save(folder / "classes.npy", classes)
    for num_features in (30, 12):
        layers = jax.tree.leaves(workloads.table_model(num_features))
        np.savez(folder / f"mlp{num_features}.npz", *map(np.asarray, layers))


def write_targets(folder: Path, networks: dict[str, Any]) -> None:
    """Write the first choice of each network for the photo."""
    x = jnp.asarray(Data(folder).images(1)[0])
    targets = {name: int(jax.jit(xaijax.lower(f))(x).argmax()) for name, f in networks.items()}
    (folder / "targets.json").write_text(json.dumps(targets), "utf-8")


def asked_in_numpy(f: Any, multiple: int) -> Any:
    """A model of one example as a peer asks for it: of a batch of NumPy's.

    Batches are filled up to a multiple, or each number of rows would compile a program of its own.
    """
    compiled = jax.jit(lambda f, rows: jax.vmap(xaijax.lower(f))(rows))

    def predict(rows: np.ndarray) -> np.ndarray:
        rows = np.asarray(rows, np.float32)
        more = -len(rows) % multiple
        padded = np.pad(rows, ((0, more), *[(0, 0)] * (rows.ndim - 1)))
        return np.asarray(compiled(f, padded))[: len(rows)]

    return predict


@functools.cache
def efficientnet() -> Any:
    """EfficientNet-Lite0 with its ImageNet weights."""
    from xaijax.models import efficientnet_lite0

    return efficientnet_lite0()
