"""Experiments on class activation maps: what they read off maps and tables whose answer is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import xaijax
from experiments import _seeds
from experiments.claims import (
    class_discriminative,
    fg_cam,
    fg_cam_denoising,
    grad_cam_lrp,
    layers,
)
from xaijax.propagation import epsilon_plus


def table(metric, better, **numbers):
    """What networks say of explainers: a list of numbers each."""
    return pd.DataFrame(
        [
            {
                "unit": f"seed {i}",
                "explainer": name.replace("_", " "),
                "control": name == "random",
                "metric": metric,
                "better": better,
                "value": value,
            }
            for name, values in numbers.items()
            for i, value in enumerate(values)
        ]
    )


def test_best_of_a_summary_is_paired_by_network():
    # The networks differ much, the explainers always by the same: b is worse than a, c is not.
    a = [0.1, 0.5, 0.9, 0.4]
    b = [x - 0.1 + e for x, e in zip(a, (0.001, -0.001, 0.0, 0.002), strict=True)]
    c = [0.2, 0.4, 0.8, 0.45]
    found = _seeds.summary(table("m", "higher", a=a, b=b, c=c, random=[1.0] * 4))
    assert dict(zip(found.explainer, found.best, strict=True)) == {
        "a": True,
        "b": False,
        "c": True,
        "random": False,
    }
    assert found["mean"].iloc[0] == pytest.approx(np.mean(a))


def test_best_of_a_summary_is_the_lowest_where_lower_is_better():
    found = _seeds.summary(table("m", "lower", a=[0.1, 0.2, 0.1], b=[0.9, 0.8, 0.9]))
    assert found.best.tolist() == [True, False]


def test_no_interval_of_one_network():
    found = _seeds.summary(table("m", "higher", a=[0.1], b=[0.2]))
    assert found.low.isna().all()
    assert _seeds.readable(found).m.str.contains(r"\(n=1\)").all()


def test_a_map_of_the_mask_follows_the_class_and_one_map_for_both_does_not():
    masks = jnp.zeros((2, 4, 4), bool).at[0, :2].set(True).at[1, 2, :].set(True)
    right = class_discriminative._shares(1.0 * masks, masks, masks[::-1])
    assert right["difference"].tolist() == [1.0, 1.0]
    assert right["lift"].tolist() == [2.0, 4.0]
    assert right["swap"].tolist() == [1.0]  # one for both
    both = class_discriminative._shares(jnp.ones((2, 4, 4)), masks, masks[::-1])
    assert both["share on the object"].tolist() == [0.5, 0.25]
    assert both["difference"].tolist() == [0.25, -0.25]  # none on average
    assert both["swap"].tolist() == [0.0]


def test_averages_of_positions():
    a = jnp.arange(16.0).reshape(1, 4, 4)
    found = layers._averaged(a, jnp.zeros((1, 2, 2)))
    assert found.tolist() == [[[2.5, 4.5], [10.5, 12.5]]]


def test_loss_of_faithfulness_is_1_at_the_random_map_whichever_way_is_better():
    numbers = {fg_cam.COARSE: [0.2, 0.4], "fine": [0.1, 0.4], "random": [0.7, 0.8]}
    for sign in (1, -1):
        known = table("m", None, **{k: [sign * v for v in x] for k, x in numbers.items()})
        assert fg_cam.loss(known, "m", "random").tolist() == pytest.approx([1, 1])
        assert fg_cam.loss(known, "m", fg_cam.COARSE).tolist() == pytest.approx([0, 0])
        assert fg_cam.loss(known, "m", "fine").tolist() == pytest.approx([-0.2, 0])


@pytest.mark.parametrize(
    ("change", "equal"),
    [
        ([0.001, -0.001, 0.002, 0.0], True),
        ([0.019, 0.019, 0.019, 0.019], True),
        ([0.03, -0.03, 0.03, -0.03], False),  # not different from 0, and not shown to be equal
        ([0.021, 0.022, 0.021, 0.022], False),
        ([0.0], False),
    ],
)
def test_equality_within_a_margin(change, equal):
    assert fg_cam_denoising.equal(np.array(change)) == equal


def denoised(deletion, variation):
    """What five networks say of FG-CAM with the paper's setting and with half of the components and the means."""
    names = {"16 x 16": None, "32 x 32": None}
    rows = []
    for size in names:
        for setting in ((), *deletion):
            name = size if setting == () else fg_cam_denoising.named(size, setting)
            for i, noise in enumerate((0.001, -0.001, 0.0005, 0.0, -0.0005)):
                for metric in (*fg_cam_denoising.FAITHFULNESS, *fg_cam_denoising.NOISE):
                    change = {"deletion": deletion, "total variation": variation}.get(metric, {})
                    value = 0.5 + change.get(setting, 0.0) + noise * (setting != ())
                    kept = {"kind": "shapes", "example": f"seed {i}", "unit": f"seed {i}"}
                    rows.append({**kept, "explainer": name, "metric": metric, "value": value})
    random = [{**row, "explainer": "random", "value": 0.9} for row in rows[:25]]
    return (
        pd.DataFrame(rows + random)
        .drop_duplicates(["example", "explainer", "metric"])
        .assign(accuracy=1.0)
    )


def test_denoising_is_judged_by_the_papers_setting_first():
    config = fg_cam_denoising.Config(ranks=(0.1, 0.5), num_photographs=0)
    papers, others = fg_cam_denoising.PAPERS, [(0.5, False), (0.1, True), (0.5, True)]
    assert fg_cam_denoising.settings(config) == [papers, *others]
    harmless, calmer = dict.fromkeys([papers, *others], 0.0), dict.fromkeys([papers, *others], -0.1)
    found = fg_cam_denoising.conclude(config, denoised(harmless, calmer))
    assert found.verdict == "supported"
    found = fg_cam_denoising.conclude(config, denoised({**harmless, papers: 0.05}, calmer))
    assert found.verdict == "only if"
    assert found.only_if == "what is kept are 50% or 10% and the means or 50% and the means"
    noisier = {**dict.fromkeys(others, 0.1), papers: -0.1}
    found = fg_cam_denoising.conclude(config, denoised({**harmless, papers: 0.05}, noisier))
    assert found.verdict == "refuted"


def test_lrp_cut_alike_has_as_many_pixels_as_the_hybrid():
    kernel = jnp.ones((2, 2, 1, 2)).at[..., 1].set(-0.5)

    def f(x):
        numbers = ("NHWC", "HWIO", "NHWC")
        A = jax.lax.conv_general_dilated(
            x[None], kernel, (2, 2), "VALID", dimension_numbers=numbers
        )
        return jax.nn.relu(A).mean((0, 1, 2))

    x = jax.random.uniform(jax.random.key(0), (8, 8, 1))
    hybrid = xaijax.grad_cam_lrp(f, x, 0, sigma=0.0)
    cut = grad_cam_lrp.lrp_cut_alike(f, x, 0, sigma=0.0)
    assert 0 < (hybrid > 0).sum() < 64
    assert (cut > 0).sum() == (hybrid > 0).sum()
    relevance = xaijax.lrp(f, x, 0, composite=epsilon_plus()).sum(-1)
    assert cut[cut > 0].min() >= relevance[cut == 0].max()
