"""ImageNet's class names, and the preprocessing of EfficientNet-Lite."""

import difflib
import functools
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, UInt8

if TYPE_CHECKING:
    from PIL import Image

_SHORTER_SIDE = 256
_CROP = 224
_MODES_8_BIT = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr")
_MODES_16_BIT = ("I;16", "I;16L", "I;16B", "I;16N", "I")


def preprocess(
    image: "Image.Image",
) -> tuple[UInt8[np.ndarray, "224 224 3"], Float[np.ndarray, "224 224 3"]]:
    """Turn a photograph into the input of EfficientNet-Lite0.

    The orientation noted in the file is applied, transparency is put on white and grey becomes
    RGB. The shorter side is resized to 256 pixels (bicubic, aspect kept) and the middle 224 x 224
    pixels are cut out.

    Args:
        image: A PIL image of any size. The modes "I" and "I;16" are read as 16-bit grey.

    Returns:
        The crop, to look at, and the input of the model, (crop - 127) / 128, as float32.

    Raises:
        ModuleNotFoundError: Pillow is not installed.
        TypeError: image is no PIL image.
        ValueError: image is empty, or of a mode without a known range.

    Example:
        >>> from PIL import Image
        >>> crop, x = preprocess(Image.new("RGB", (300, 400), (255, 127, 0)))
        >>> crop.shape, x[0, 0].tolist()
        ((224, 224, 3), [1.0, 0.0, -0.9921875])
    """
    if importlib.util.find_spec("PIL") is None:
        raise ModuleNotFoundError(
            "preprocess: Pillow must be installed, got no package PIL. "
            'Run: pip install "xaijax[image]"'
        )
    from PIL import Image, ImageOps

    if not isinstance(image, Image.Image):
        raise TypeError(
            f"preprocess: image must be a PIL image, got {type(image).__name__}. "
            "Open a file with PIL.Image.open, or wrap an array with PIL.Image.fromarray."
        )
    if 0 in image.size:
        raise ValueError(
            f"preprocess: image must have pixels, got the size {image.size}. Give another image."
        )
    image = _to_rgb(ImageOps.exif_transpose(image))
    shorter = min(image.size)
    width, height = (side * _SHORTER_SIDE // shorter for side in image.size)
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = round((width - _CROP) / 2), round((height - _CROP) / 2)
    crop = np.array(image.crop((left, top, left + _CROP, top + _CROP)))
    return crop, (crop.astype(np.float32) - 127) / 128


def _to_rgb(image: "Image.Image") -> "Image.Image":
    from PIL import Image

    if image.mode in _MODES_16_BIT:
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError(
                f"preprocess: image of mode {image.mode!r} must have values from 0 to 65535, got "
                f"{values.min()} to {values.max()}. Scale it to 8 bits first."
            )
        image = Image.fromarray(np.round(values / 257).astype(np.uint8))
    elif image.mode not in _MODES_8_BIT:
        raise ValueError(
            f"preprocess: image must have 8 or 16 bits per channel, got mode {image.mode!r}. "
            'Convert it first, with image.convert("RGB") or a scaling of your own.'
        )
    if image.has_transparency_data:
        if image.mode == "La":  # which Pillow converts to LA only
            image = image.convert("LA")
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


@functools.cache
def _read_labels() -> tuple[str, ...]:
    text = Path(__file__).with_name("imagenet_labels.txt").read_text(encoding="utf-8")
    return tuple(text.splitlines())


def imagenet_labels() -> list[str]:
    """List the names of ImageNet's 1000 classes, in the order of the logits.

    Each is the first name of its WordNet synset, taken from the class tables of timm
    (Apache-2.0). Three pairs of classes share a name, case aside: crane, cardigan and maillot.

    Returns:
        1000 names.

    Example:
        >>> imagenet_labels()[285]
        'Egyptian cat'
    """
    return list(_read_labels())


def find_label(query: str) -> int:
    """Find the class of ImageNet with a name.

    Args:
        query: The name; case is ignored and underscores are spaces.

    Returns:
        The index of the class, from 0 to 999.

    Raises:
        TypeError: query is no string.
        ValueError: No class, or more than one, has this name.

    Example:
        >>> find_label("egyptian_cat")
        285
    """
    if not isinstance(query, str):
        raise TypeError(
            f"find_label: query must be a string, got {type(query).__name__}. "
            "Give the name of a class; an index needs no lookup."
        )
    names = [name.casefold() for name in _read_labels()]
    name = " ".join(query.replace("_", " ").split()).casefold()
    found = [index for index, other in enumerate(names) if other == name]
    if len(found) == 1:
        return found[0]
    if found:
        listed = " and ".join(f"{index} ({_read_labels()[index]})" for index in found)
        raise ValueError(
            f"find_label: query must name one class, got {query!r}, the name of {listed}. "
            "Use the index."
        )
    near = difflib.get_close_matches(name, names, n=5, cutoff=0.6)
    near += [other for other in names if name and name in other and other not in near][:5]
    listed = ", ".join(dict.fromkeys(_read_labels()[names.index(other)] for other in near))
    raise ValueError(
        f"find_label: query must be the name of an ImageNet class, got {query!r}. "
        + (f"Near: {listed}." if listed else "imagenet_labels() lists the names.")
    )
