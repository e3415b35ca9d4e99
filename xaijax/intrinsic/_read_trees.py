"""Fitted tree ensembles of other libraries as a JAX model."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xaijax.core._errors import complaint
from xaijax.intrinsic._lightgbm import read_lightgbm
from xaijax.intrinsic._scikit_learn import read_scikit_learn
from xaijax.intrinsic._trees import Trees
from xaijax.intrinsic._xgboost import read_xgboost


def read_trees(model: Any) -> Trees:
    """The trees of a fitted model, as a model that JAX computes and `tree_shap` explains.

    Its outputs are those of the source: probabilities of scikit-learn's trees and forests, predictions of regressions,
    and the raw scores of boosted classifiers, before the logistic or softmax function. Splits are compared as the
    source does: scikit-learn and XGBoost in single precision whatever the input is, LightGBM and scikit-learn's
    histogram boosting in double precision, if JAX has it when the trees are read (`jax_enable_x64`).

    Args:
      model: one of

        * scikit-learn: a fitted decision or extra tree, random forest, extra trees, gradient boosting or histogram
          gradient boosting, classifier or regressor;
        * XGBoost: the path of `booster.save_model("model.json")`, or that file's content as a dictionary;
        * LightGBM: the path of `booster.save_model("model.txt")`.

    Returns:
      The trees.

    Raises:
      ValueError: a file of an unknown version or another kind of model, or a tree with what is not supported, which
        the message names: categorical splits, linear leaves, leaves of several targets.
      TypeError: `model` is none of these.
      FileNotFoundError: there is no such file.

    Examples:
      >>> import jax.numpy as jnp
      >>> from sklearn.tree import DecisionTreeRegressor
      >>> f = read_trees(DecisionTreeRegressor().fit([[0.0], [1.0]], [2.0, 6.0]))
      >>> f(jnp.array([0.8]))
      Array([6.], dtype=float32)

    References:
      chen2016xgboost
      ke2017lightgbm
    """
    if isinstance(model, Mapping):
        return read_xgboost(model)
    if isinstance(model, str | os.PathLike):
        return _read_file(Path(model))
    return read_scikit_learn(model)


def _read_file(path: Path) -> Trees:
    if not path.is_file():
        rule = "be fitted trees, or the path of an existing file"
        raise FileNotFoundError(complaint("read_trees", "model", rule, repr(str(path))))
    data = path.read_bytes()
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = ""
    if text.lstrip().startswith("{"):
        try:
            return read_xgboost(json.loads(text))
        except json.JSONDecodeError as error:
            rule = "be a JSON file of XGBoost"
            raise ValueError(complaint("read_trees", "model", rule, str(error))) from error
    if text.startswith("tree\n") or text.startswith("tree\r\n"):
        return read_lightgbm(text)
    rule = "be a text file of XGBoost or LightGBM"
    fix = "Save it with booster.save_model: of XGBoost to a name that ends in .json, of LightGBM in .txt."
    raise ValueError(complaint("read_trees", "model", rule, path.name, fix))
