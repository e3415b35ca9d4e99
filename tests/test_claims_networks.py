"""Claims about networks of drawn images: what is known of their parts without training any."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from flax import nnx

import xaijax
from experiments._architectures import ARCHITECTURES
from experiments.claims import adversarial, metrics_agree, score_cam, shortcuts, support_matrix


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_architectures_are_what_their_names_say(name):
    model = ARCHITECTURES[name](nnx.Rngs(0))
    model.eval()
    f = xaijax.as_model(model)
    x = jax.random.normal(jax.random.key(0), (32, 32, 1))
    assert jax.eval_shape(f, x).shape == (4,)
    side = 8 if name in ("dilated, GAP", "residual, GAP") else 4
    assert jax.eval_shape(xaijax.bind(xaijax.grad_cam, f), x, 0).shape == (side, side)
    if name.endswith("dense"):
        with pytest.raises(ValueError, match="cam"):
            xaijax.cam(f, x, 0)


def test_place_of_the_tag_holds_all_of_it_and_no_more_than_a_corner():
    xs, places = shortcuts.explained("watermark", 5)
    places = np.asarray(places)
    assert (places.sum((1, 2)) == 64).all()
    corners = places[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert (corners.sum(1) == 1).all()
    tag = np.asarray(xs)[..., 0] * places
    assert (tag.reshape(5, -1) > 0.6).sum(1).min() >= 10  # of the letter's 16 pixels


def test_place_of_the_snow_is_all_but_the_wolf():
    xs, places = shortcuts.explained("wolf", 3)
    snow = np.asarray(xs)[np.asarray(places)]
    assert snow.mean() > 0.8


def test_signs_of_a_change_come_back_from_text():
    change = np.random.default_rng(0).integers(-1, 2, (5, 7, 3)) * 0.25
    found = adversarial._unpacked(adversarial._packed(change), change.shape)
    np.testing.assert_array_equal(found, np.sign(change))


def test_largest_imperceptible_change_decides():
    """SSIM falls below 0.95 at 4 grey levels: what happens there does not count."""
    rows = [
        {"example": e, "attack": a, "level": n, "ssim": s, "changed": c if a == "FGSM" else 0.0}
        for e in ("a", "b", "c")
        for a in adversarial.ATTACKS
        for n, s, c in ((0, 1.0, 0.0), (1, 0.99, 0.0), (2, 0.96, 1.0), (4, 0.9, 0.0))
    ]
    found = adversarial._flips(pd.DataFrame(rows))
    assert (found.level, found.attack.mean, found.control.mean, found.holds) == (2, 1.0, 0.0, True)


def test_oracle_is_first_by_the_sign_of_the_metric():
    rows = [
        {"unit": "u", "explainer": e, "metric": m, "better": b, "value": v}
        for m, b, values in (
            ("up", "higher", {"oracle": 2.0, "a": 1.0}),
            ("down", "lower", {"oracle": 2.0, "a": 1.0}),
            ("unknown", "lower", {"oracle": None, "a": 1.0}),
        )
        for e, v in values.items()
    ]
    found = metrics_agree._oracle_first(pd.DataFrame(rows), ["up", "down", "unknown"])
    assert found.iloc[0].to_dict() == {"up": 1.0, "down": 0.0}


def test_judges_are_of_four_categories():
    judges = metrics_agree.judges(metrics_agree.Config())
    main = [metrics_agree.category(j) for name, j in judges.items() if ", " not in name]
    assert len(main) == 10
    assert set(main) == {"faithfulness", "robustness", "complexity", "localisation"}


def test_maps_that_are_the_same_before_and_after_are_fully_alike():
    def f(x):
        with jax.named_scope("features"):
            a = jax.nn.relu(x)
        return a.mean((0, 1))

    x = jax.random.uniform(jax.random.key(0), (16, 16, 2))
    mask = jnp.zeros((16, 16), bool).at[:4, :4].set(True)
    explain = xaijax.bind(xaijax.score_cam, f, layer="features")
    alike, energy = score_cam.stability(
        explain,
        jax.tree_util.Partial(f),
        x[None],
        jnp.array([1]),
        mask[None],
        jnp.stack([x, x])[None],
    )
    np.testing.assert_allclose(alike, 1.0, rtol=1e-5)
    assert 0 < float(energy[0, 0]) == float(energy[0, 1]) < 1


def test_grad_cam_refuses_what_has_no_feature_maps():
    config = support_matrix.Config(methods=("grad_cam", "exact_shapley"), num_examples=1)
    found = {r["explainer"]: r for r in support_matrix.measure(config, "MLP")}
    assert found["grad_cam"]["answer"] == "refuses"
    assert "spatial axes" in found["grad_cam"]["message"]
    assert found["exact_shapley"]["answer"] == support_matrix.EXPLAINS
    assert found["exact_shapley"]["accuracy"] > 0.9
