r"""Linear and logistic regression as a JAX model, and what its weights say (Hastie, Tibshirani & Friedman 2009).

Notation: y = W x + b the scores, one row of W for each; of a logistic regression the log-odds of its second class.
"""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from xaijax.core._errors import complaint
from xaijax.intrinsic._scikit_learn import names


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Linear:
    """A linear model: a callable pytree, one example `(num_features,)` to scores `(num_outputs,)`.

    Its contributions to one score are `linear_shap`. Made by `read_linear`, or of arrays.

    Attributes:
      weights: W, in units of the score over those of the feature.
      bias: b.
      feature_names: their names. Static.
      link: what makes a prediction of the scores: nothing, or the logistic or softmax function. Static.
    """

    weights: Float[Array, "num_outputs num_features"]
    bias: Float[Array, " num_outputs"]
    feature_names: tuple[str, ...] = dataclasses.field(metadata={"static": True})
    link: Literal["identity", "logit"] = dataclasses.field(
        default="identity", metadata={"static": True}
    )

    def __call__(self, x: Float[Array, " num_features"]) -> Float[Array, " num_outputs"]:
        """The scores of one example."""
        return self.weights @ x + self.bias


def read_linear(model: Any) -> Linear:
    """A fitted linear model of scikit-learn, as a model that JAX computes.

    Its outputs are the predictions of a regression, and the scores of a classifier: of two classes one, the log-odds
    of the second if it is a logistic regression. A `StandardScaler` before it in a pipeline is folded in: the weights
    are those of the features as they were measured.

    Args:
      model: `LinearRegression`, `Ridge`, `Lasso`, `ElasticNet`, `LogisticRegression` and the like, or a pipeline of
        `StandardScaler` steps and one of these.

    Returns:
      The model.

    Raises:
      TypeError: it is none of these.
      ValueError: it is not fitted, or a pipeline with another step.

    Examples:
      >>> from sklearn.linear_model import LinearRegression
      >>> f = read_linear(LinearRegression().fit([[0.0], [1.0]], [1.0, 3.0]))
      >>> f(jnp.array([2.0]))
      Array([5.], dtype=float32)
    """
    *before, final = [step for _, step in getattr(model, "steps", [("", model)])]
    kinds = {kind.__name__ for kind in type(final).__mro__}
    if not kinds & {"LinearModel", "LinearClassifierMixin"}:
        rule = "be a linear model of scikit-learn, or a pipeline that ends in one"
        raise TypeError(complaint("read_linear", "model", rule, type(final).__name__))
    for step in before:
        if type(step).__name__ != "StandardScaler":
            rule = "have no step but StandardScaler before the linear model"
            raise ValueError(complaint("read_linear", "model", rule, type(step).__name__))
    if not hasattr(final, "coef_"):
        rule, got = "be fitted", f"a {type(final).__name__} that is not"
        raise ValueError(complaint("read_linear", "model", rule, got, "Call its fit first."))
    W = np.atleast_2d(final.coef_).astype(np.float64)
    b = np.broadcast_to(np.asarray(final.intercept_, np.float64), len(W))
    for scaler in reversed(before):
        W = W if scaler.scale_ is None else W / scaler.scale_
        b = b if scaler.mean_ is None else b - W @ scaler.mean_
    link = "logit" if "LogisticRegression" in kinds else "identity"
    return Linear(
        jnp.asarray(W), jnp.asarray(b), tuple(names(before[0] if before else final)), link
    )


def standardised_coefficients(
    f: Linear, rows: Float[Array, "n num_features"]
) -> Float[Array, "num_outputs num_features"]:
    r"""How much a score changes with one standard deviation of each feature: comparable between features.

    .. math::
        \beta_{kj} = W_{kj} \, \operatorname{sd}(x_j)

    Plain weights are not comparable: those of lengths in millimetres are a thousandth of those in metres.

    Args:
      f: the model.
      rows: examples whose standard deviations are taken, such as the training data.

    Returns:
      One signed number for each score and feature, in units of the score.

    Raises:
      ValueError: the rows have another number of features.

    Examples:
      >>> f = Linear(jnp.array([[2.0, 0.1]]), jnp.zeros(1), ("length", "width"))
      >>> standardised_coefficients(f, jnp.array([[1.0, 0.0], [3.0, 200.0]]))
      Array([[ 2., 10.]], dtype=float32)

    References:
      hastie2009elements
    """
    return f.weights * _deviations("standardised_coefficients", f, rows)


def odds_ratios(
    f: Linear, rows: Float[Array, "n num_features"] | None = None
) -> Float[Array, " num_features"]:
    r"""By what the odds of a logistic regression are multiplied when a feature rises by 1, the others held.

    .. math::
        \frac{\operatorname{odds}(x + e_j)}{\operatorname{odds}(x)} = e^{w_j}

    Args:
      f: a logistic regression of two classes; the odds are those of the second.
      rows: examples; if given, a feature rises by its standard deviation among them.

    Returns:
      A positive number for each feature: above 1 if it speaks for the second class.

    Raises:
      ValueError: `f` is not a logistic regression of two classes, or the rows have another number of features.

    Examples:
      >>> f = Linear(jnp.log(jnp.array([[2.0, 0.5]])), jnp.zeros(1), ("age", "dose"), "logit")
      >>> odds_ratios(f)
      Array([2. , 0.5], dtype=float32)

    References:
      hastie2009elements
    """
    if f.link != "logit" or len(f.weights) != 1:
        got = f"{len(f.weights)} outputs with the link {f.link!r}"
        fix = "Of several classes the odds of a against b: exp(weights[a] - weights[b])."
        rule = "be a logistic regression of two classes"
        raise ValueError(complaint("odds_ratios", "f", rule, got, fix))
    step: Any = 1 if rows is None else _deviations("odds_ratios", f, rows)
    return jnp.exp(f.weights[0] * step)


def _deviations(where: str, f: Linear, rows: Array) -> Array:
    if jnp.ndim(rows) != 2 or jnp.shape(rows)[1] != f.weights.shape[1]:
        rule = f"be examples (n, {f.weights.shape[1]})"
        raise ValueError(complaint(where, "rows", rule, f"shape {jnp.shape(rows)}"))
    return jnp.asarray(rows, f.weights.dtype).std(0)
