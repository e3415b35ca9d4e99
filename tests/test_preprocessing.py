"""What each network wants done to a photograph."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from xaijax.models import preprocess
from xaijax.models._imagenet import (
    CAFFE,
    EFFICIENTNET_LITE,
    TIMM_AUGREG,
    TORCHVISION,
    Preprocessing,
)

RED, GREEN, BLUE = 200, 100, 50


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (256, 300, 3), np.uint8)


# What the networks' own code does to a pixel, written out.
EXPECTED = {
    EFFICIENTNET_LITE: [(value - 127) / 128 for value in (RED, GREEN, BLUE)],
    TORCHVISION: [
        (RED / 255 - 0.485) / 0.229,
        (GREEN / 255 - 0.456) / 0.224,
        (BLUE / 255 - 0.406) / 0.225,
    ],
    TIMM_AUGREG: [(value / 255 - 0.5) / 0.5 for value in (RED, GREEN, BLUE)],
    CAFFE: [BLUE - 103.939, GREEN - 116.779, RED - 123.68],
}


@pytest.mark.parametrize("preprocessing", EXPECTED)
def test_colours(preprocessing):
    crop, x = preprocess(Image.new("RGB", (300, 280), (RED, GREEN, BLUE)), preprocessing)
    side = preprocessing.crop
    assert (crop.shape, crop.dtype) == ((side, side, 3), np.uint8)
    assert (x.shape, x.dtype) == ((side, side, 3), np.float32)
    np.testing.assert_array_equal(crop, np.broadcast_to([RED, GREEN, BLUE], crop.shape))
    expected = EXPECTED[preprocessing]
    np.testing.assert_allclose(x, np.broadcast_to(expected, x.shape), rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("preprocessing", EXPECTED)
def test_resizing(preprocessing, pixels):
    """The shorter side first, with the filter that is asked for, then the middle."""
    image = Image.fromarray(np.concatenate([pixels, pixels]))  # 300 wide, 512 high
    side, height = preprocessing.shorter_side, 512 * preprocessing.shorter_side // 300
    methods = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
    resized = np.array(image.resize((side, height), methods[preprocessing.interpolation]))
    top, left = ((n - preprocessing.crop) / 2 for n in resized.shape[:2])
    top, left = round(top), round(left)
    expected = resized[top : top + preprocessing.crop, left : left + preprocessing.crop]
    crop, x = preprocess(image, preprocessing)
    np.testing.assert_array_equal(crop, expected)
    assert np.isfinite(x).all()
    assert x.flags.c_contiguous


def test_the_default_is_efficientnet(pixels):
    image = Image.fromarray(pixels)
    for ours, expected in zip(preprocess(image), preprocess(image, EFFICIENTNET_LITE), strict=True):
        np.testing.assert_array_equal(ours, expected)
    middle = pixels[16:240, 38:262].astype(np.float32)
    np.testing.assert_array_equal(preprocess(image)[1], (middle - 127) / 128)


def test_records_are_settings_of_a_model():
    # They are compared and hashed as part of a model's structure.
    assert Preprocessing((0, 0, 0), (1, 1, 1)) == Preprocessing((0, 0, 0), (1, 1, 1))
    assert len({*EXPECTED, dataclasses.replace(CAFFE)}) == 4


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"crop": 300}, "crop must be at most shorter_side=256, got 300"),
        ({"crop": 0}, "crop must be at least 1"),
        ({"std": (1, 0, 1)}, "std positive"),
        ({"mean": (1, 0)}, "must be three numbers each"),
        ({"interpolation": "nearest"}, "interpolation must be 'bilinear' or 'bicubic', got 'near"),
        ({"order": "GBR"}, "order must be 'RGB' or 'BGR', got 'GBR'"),
    ],
)
def test_settings_are_checked(settings, match):
    with pytest.raises(ValueError, match=match):
        Preprocessing(**({"mean": (0, 0, 0), "std": (1, 1, 1)} | settings))


def test_a_model_is_no_preprocessing(pixels):
    with pytest.raises(TypeError, match=r"be a Preprocessing, got str. Pass model\.preprocessing"):
        preprocess(Image.fromarray(pixels), "imagenet")
