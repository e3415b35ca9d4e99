"""Images that are drawn: their masks are exact, and what gives the class away does so as often as asked."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xaijax import data
from xaijax.data._chest import draw_radiograph
from xaijax.data._drawing import keys
from xaijax.data._shapes import draw_scene
from xaijax.data._watermark import draw_tagged
from xaijax.data._wolf_snow import draw_animal

N = 1000
GENERATORS = {
    "shapes": data.shapes,
    "two shapes": functools.partial(data.shapes, num_objects=2),
    # The smallest, where an object and a tag are nearest.
    "watermark": functools.partial(data.watermark, correlation=0.9, size=28),
    "wolf_snow": functools.partial(data.wolf_snow, correlation=0.9),
    "chest": functools.partial(data.chest, correlation=0.9),
}


@pytest.fixture(scope="module")
def drawn():
    """A thousand of each, drawn once."""
    return {name: draw(jax.random.key(3), N) for name, draw in GENERATORS.items()}


def scenes(draw):
    """The parts of the images that the generators give for the fixture's key."""
    return jax.jit(jax.vmap(draw))(keys(jax.random.key(3), N))


# --- which pixels are what


@pytest.mark.parametrize(("name", "num_objects"), [("shapes", 1), ("two shapes", 2)])
def test_pixels_of_shapes_are_those_of_their_masks(drawn, name, num_objects):
    found = drawn[name]
    parts = scenes(lambda key: draw_scene(key, num_objects, 32))
    images = np.asarray(found.images - parts.noise)[..., 0]
    masks = np.asarray(found.masks).reshape(N, num_objects, 32, 32)
    assert (masks.sum(1) <= 1).all()  # no two overlap
    background = np.asarray(parts.background)[..., 0]
    assert background.max() <= 0.5
    nowhere = ~masks.any(1)
    np.testing.assert_allclose(images[nowhere], background[nowhere], atol=1e-6)
    for k in range(num_objects):
        painted = np.asarray(parts.brightness)[:, k, None, None] * np.ones((32, 32))
        np.testing.assert_allclose(images[masks[:, k]], painted[masks[:, k]], atol=1e-6)
    assert (images[~nowhere] > 0.59).all()


def oracle_mask(kind, extent):
    """A shape in a box of `extent` pixels, pixel by pixel."""
    mask = np.zeros((extent, extent), bool)
    for i in range(extent):
        for j in range(extent):
            down, right = (i + 0.5) / extent, (j + 0.5) / extent
            mask[i, j] = {
                "disc": math.hypot(down - 0.5, right - 0.5) <= 0.5,
                "square": True,
                "triangle": abs(right - 0.5) <= down / 2,
                "cross": 1 / 3 <= down <= 2 / 3 or 1 / 3 <= right <= 2 / 3,
            }[kind]
    return mask


@pytest.mark.parametrize("name", ["shapes", "two shapes"])
def test_masks_have_the_outline_of_their_class(drawn, name):
    labels = np.asarray(drawn[name].labels).ravel()
    seen = set()
    for mask, label in zip(np.asarray(drawn[name].masks).reshape(-1, 32, 32), labels, strict=True):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        height = rows[-1] - rows[0] + 1
        # The side of the box of an odd triangle may hold no middle of a pixel.
        extent = next(
            e
            for e in (height, height + 1)
            if oracle_mask(data.SHAPES[label], e).sum() == mask.sum()
        )
        assert 6 <= extent <= 12
        expected = oracle_mask(data.SHAPES[label], extent)
        expected = expected[expected.any(1)][:, expected.any(0)]
        np.testing.assert_array_equal(
            mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], expected
        )
        seen.add((label, extent))
    assert len(seen) == 4 * 7  # every class in every size
    if name == "two shapes":
        assert (labels.reshape(-1, 2)[:, 0] != labels.reshape(-1, 2)[:, 1]).all()


def test_objects_are_everywhere(drawn):
    for name in ("shapes", "two shapes"):
        masks = np.asarray(drawn[name].masks).reshape(-1, 32, 32)
        assert masks.any((0, 1)).all()
        assert masks.any((0, 2)).all()
        assert masks.any(0)[3:-3, 3:-3].all()


def test_pixels_of_tags_are_those_of_their_masks(drawn):
    found, size = drawn["watermark"], 28
    parts, _, _ = scenes(lambda key: draw_tagged(key, 0.9, size))
    masks, tags, tagged = (np.asarray(a) for a in (found.masks, found.tags, found.tagged))
    np.testing.assert_array_equal(tags.any((1, 2)), tagged)
    assert set(tags.sum((1, 2)).tolist()) == {0, 16}
    assert not (masks & tags).any()
    images = np.asarray(found.images - parts.noise)[..., 0]
    np.testing.assert_allclose(images[tags], 0.9, atol=1e-6)
    # The same images with the tags swapped differ on the tags, and nowhere else.
    other = data.watermark(jax.random.key(3), N, correlation=1 - 0.9, size=size)
    differ = np.asarray(found.images != other.images)[..., 0]
    np.testing.assert_array_equal(differ, tags ^ np.asarray(other.tags))
    assert differ.any()
    rows, columns = tags[tagged].any(2).argmax(1), tags[tagged].any(1).argmax(1)
    corners = {(1, 1), (1, size - 5), (size - 7, 1), (size - 7, size - 5)}
    assert set(zip(rows.tolist(), columns.tolist(), strict=True)) == corners


def test_pixels_of_animals_are_those_of_their_masks(drawn):
    found = drawn["wolf_snow"]
    parts, _, _ = scenes(lambda key: draw_animal(key, 0.9, 32))
    images, masks = np.asarray(found.images - parts.noise), np.asarray(found.masks)
    np.testing.assert_array_equal(found.backgrounds, ~masks)
    np.testing.assert_allclose(images[~masks], np.asarray(parts.background)[~masks], atol=1e-6)
    np.testing.assert_allclose(images[masks], np.asarray(parts.animal)[masks], atol=1e-6)
    # Snow is white and grass is green; a husky has blue eyes.
    for i in range(20):
        red, green, blue = np.median(images[i][~masks[i]], 0)
        assert (min(red, green, blue) > 0.75) == found.snow[i]
        assert (green > 1.5 * max(red, blue)) != found.snow[i]
        blue_eyes = (np.abs(images[i] - [0.2, 0.6, 1.0]) < 1e-5).all(-1)
        assert blue_eyes[masks[i]].any() == (found.labels[i] == 0)


def test_animals_have_one_outline(drawn):
    """The mask says nothing of the class: an animal of the other class has the same."""
    found = drawn["wolf_snow"]
    areas = np.asarray(found.masks).sum((1, 2))
    labels = np.asarray(found.labels)
    assert 60 < areas.min() < areas.max() < 300
    difference = areas[labels == 1].mean() - areas[labels == 0].mean()
    assert abs(difference) < 4 * areas.std() * (4 / N) ** 0.5


def test_pixels_of_lesions_are_those_of_their_masks(drawn):
    found = drawn["chest"]
    parts, _, _ = scenes(lambda key: draw_radiograph(key, 0.9, 32))
    images = np.asarray(found.images - parts.noise)[..., 0]
    healthy = np.asarray(parts.healthy)[..., 0]
    masks, markers = np.asarray(found.masks), np.asarray(found.markers)
    np.testing.assert_array_equal(masks.any((1, 2)), found.labels == 1)
    np.testing.assert_array_equal(markers.any((1, 2)), found.marked)
    assert not (masks & markers).any()
    np.testing.assert_allclose(images[markers], 1.0, atol=1e-6)
    nothing = ~masks & ~markers
    np.testing.assert_allclose(images[nothing], healthy[nothing], atol=1e-6)
    lesion = np.where(masks, images - healthy, 0)
    assert (np.asarray(parts.lesion)[..., 0][masks] > 0).all()
    # It is seen, above the noise of 0.03, and lies in a lung, which is dark.
    assert (lesion.max((1, 2))[np.asarray(found.labels) == 1] > 0.2).all()
    brightest = lesion.reshape(N, -1).argmax(1)[np.asarray(found.labels) == 1]
    dark = healthy.reshape(N, -1)[np.asarray(found.labels) == 1]
    assert (dark[np.arange(len(dark)), brightest] < 0.4).all()
    # A disc of two standard deviations.
    areas = masks.sum((1, 2))[np.asarray(found.labels) == 1]
    assert (
        math.pi * (2 * 0.05 * 32) ** 2 - 6
        < areas.min()
        < areas.max()
        < math.pi * (2 * 0.08 * 32) ** 2 + 6
    )


# --- what gives the class away


def inside_interval(count, n, probability):
    """Whether a binomial count is within 4 standard deviations of what is expected."""
    return abs(count - n * probability) <= 4 * (n * probability * (1 - probability)) ** 0.5


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.8, 1.0])
def test_correlation_is_as_asked(correlation):
    key = jax.random.key(5)
    wolf = data.wolf_snow(key, N, correlation=correlation)
    tag = data.watermark(key, N, correlation=correlation, size=28)
    lung = data.chest(key, N, correlation=correlation)
    for there, condition in (
        (wolf.snow, wolf.labels == 1),
        (tag.tagged, tag.labels == 0),
        (lung.marked, lung.labels == 1),
    ):
        there, condition = np.asarray(there), np.asarray(condition)
        assert inside_interval(there[condition].sum(), condition.sum(), correlation)
        assert inside_interval(there[~condition].sum(), (~condition).sum(), 1 - correlation)


def test_classes_are_equally_frequent(drawn):
    for name, found in drawn.items():
        labels = np.asarray(found.labels)
        count = 2 if name in ("wolf_snow", "chest") else 4
        assert set(np.unique(labels)) == set(range(count))
        for column in labels.reshape(N, -1).T:
            for label in range(count):
                assert inside_interval((column == label).sum(), N, 1 / count)


# --- pure functions of a key


@pytest.mark.parametrize("name", GENERATORS)
def test_an_example_depends_on_the_key_and_its_place(drawn, name):
    """However many there are, compiled in another program, in a batch of keys, with a correlation that is traced."""
    draw, more = GENERATORS[name], drawn[name]
    both = jax.vmap(jax.random.key)(jnp.arange(3, 5))
    if name in ("shapes", "two shapes"):
        together = jax.jit(jax.vmap(lambda key: draw(key, 3)))(both)
    else:
        together = jax.jit(jax.vmap(lambda key, p: draw(key, 3, correlation=p), (0, None)))(
            both, 0.9
        )
    for a, b in zip(together, more, strict=True):
        np.testing.assert_allclose(a[0], b[:3], atol=1e-6)
    assert (np.asarray(together.images[1]) != np.asarray(more.images[:3])).mean() > 0.9
    assert len(np.unique(np.asarray(more.images).reshape(N, -1), axis=0)) == N


def test_errors():
    key = jax.random.key(0)
    for call, error, message in (
        (lambda: data.shapes(0, 1), TypeError, "shapes: key must be one typed key"),
        (lambda: data.shapes(key, 0), ValueError, "shapes: num_examples must be at least 1"),
        (lambda: data.shapes(key, 1, num_objects=3), ValueError, "num_objects must be 1 or 2"),
        (lambda: data.shapes(key, 1, size=20), ValueError, "size must be at least 24"),
        (lambda: data.watermark(key, 1, correlation=0.5, size=27), ValueError, "at least 28"),
        (lambda: data.chest(key, 1, correlation=2), ValueError, "chest: correlation must be a pr"),
        (lambda: data.wolf_snow(key, 1, correlation=-0.1), ValueError, "0 to 1, got -0.1"),
    ):
        with pytest.raises(error, match=message):
            call()
