"""Models of scikit-learn, explained, over one call of `predict_proba` with all the rows that were asked for."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import xaijax
from benchmarks._rows import Writer
from benchmarks._timing import interleave, timer
from benchmarks.workloads import background, breast_cancer


def run(writer: Writer, *, rounds: int) -> None:
    """Permutation sampling of one row, 100 rows of background."""
    from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
    from sklearn.neighbors import KNeighborsClassifier

    X, y = breast_cancer()
    models = {
        "random forest": RandomForestClassifier(100, random_state=0),
        "gradient boosting": GradientBoostingClassifier(random_state=0),
        "neighbors": KNeighborsClassifier(),
    }
    for name, model in models.items():
        predict = model.fit(X, y).predict_proba
        rows = _asked(predict)
        timers = {
            "predict_proba": timer(functools.partial(predict, rows)),
            "permutation_shap": timer(functools.partial(_explain, predict)),
        }
        done = interleave(timers, rounds, control="predict_proba", title=name)
        writer.add(
            "measure",
            what=f"{name}, permutation_shap of {len(rows)} rows",
            seconds=done.seconds["permutation_shap"],
            base="one predict_proba of these rows",
            base_seconds=done.seconds["predict_proba"],
            **done.trust(),
        )


def _explain(predict: Any) -> jax.Array:
    x, mask = jnp.asarray(breast_cancer()[0][0]), xaijax.columns(background())
    f = xaijax.black_box(predict, 2)
    return xaijax.permutation_shap(f, x, 1, jax.random.key(0), mask=mask)


def _asked(predict: Any) -> np.ndarray:
    """The rows that the model is asked for."""
    asked: list[np.ndarray] = []

    def recorded(rows: np.ndarray) -> np.ndarray:
        asked.append(np.array(rows))
        return predict(rows)

    jax.block_until_ready(_explain(recorded))
    return np.concatenate(asked)
