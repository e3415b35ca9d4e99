"""ImageNet's class names, and what its networks want done to a photograph."""

import dataclasses
import difflib
import functools
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float, UInt8

from xaijax.core._errors import check_positive, complaint

if TYPE_CHECKING:
    from PIL import Image

_MODES_8_BIT = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr")
_MODES_16_BIT = ("I;16", "I;16L", "I;16B", "I;16N", "I")


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """What a network wants done to a photograph: the model's attribute `preprocessing`.

    The shorter side is resized to `shorter_side` pixels (aspect kept), the middle `crop` x `crop` pixels are cut out,
    and of each channel `mean` is subtracted and the rest divided by `std`.

    Args:
        mean: Of red, green and blue, for values from 0 to 255.
        std: Likewise.
        crop: Rows and columns of the input.
        shorter_side: Rows or columns before the crop, whichever are fewer.
        interpolation: Of the resizing.
        order: Of the channels of the input.

    Raises:
        ValueError: The crop is larger than the shorter side, or a std is not positive.

    Example:
        >>> Preprocessing(mean=(0, 0, 0), std=(255, 255, 255)).crop
        224
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    crop: int = 224
    shorter_side: int = 256
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    order: Literal["RGB", "BGR"] = "RGB"

    def __post_init__(self) -> None:
        where = "Preprocessing"
        check_positive(where, crop=self.crop, shorter_side=self.shorter_side)
        if self.crop > self.shorter_side:
            rule = f"be at most shorter_side={self.shorter_side}"
            raise ValueError(complaint(where, "crop", rule, self.crop))
        if len(self.mean) != 3 or len(self.std) != 3 or not all(s > 0 for s in self.std):
            rule, got = "be three numbers each, std positive", f"{self.mean} and {self.std}"
            raise ValueError(complaint(where, "mean and std", rule, got))
        for name, known in (("interpolation", ("bilinear", "bicubic")), ("order", ("RGB", "BGR"))):
            if getattr(self, name) not in known:
                rule = f"be {known[0]!r} or {known[1]!r}"
                raise ValueError(complaint(where, name, rule, repr(getattr(self, name))))


EFFICIENTNET_LITE = Preprocessing((127, 127, 127), (128, 128, 128), interpolation="bicubic")
# The mean and standard deviation of ImageNet's training images, in [0, 1], as torchvision's networks have it.
TORCHVISION = Preprocessing(
    (0.485 * 255, 0.456 * 255, 0.406 * 255), (0.229 * 255, 0.224 * 255, 0.225 * 255)
)
# timm's ViT-S/16 (augreg): values in [-1, 1], and a crop of 0.9 of the side.
TIMM_AUGREG = Preprocessing(
    (127.5, 127.5, 127.5), (127.5, 127.5, 127.5), shorter_side=248, interpolation="bicubic"
)
CAFFE = Preprocessing((123.68, 116.779, 103.939), (1, 1, 1), crop=227, order="BGR")


def preprocess(
    image: "Image.Image", preprocessing: Preprocessing = EFFICIENTNET_LITE
) -> tuple[UInt8[np.ndarray, "crop crop 3"], Float[np.ndarray, "crop crop 3"]]:
    """Turn a photograph into the input of a network.

    The orientation noted in the file is applied, transparency is put on white and grey becomes RGB. Then the image is
    resized, cropped and scaled as the network wants it.

    Args:
        image: A PIL image of any size. The modes "I" and "I;16" are read as 16-bit grey.
        preprocessing: What the network wants: `model.preprocessing`. By default that of EfficientNet-Lite0.

    Returns:
        The crop, to look at (always RGB), and the input of the network, as float32.

    Raises:
        ModuleNotFoundError: Pillow is not installed.
        TypeError: image is no PIL image, or preprocessing no `Preprocessing`.
        ValueError: image is empty, or of a mode without a known range.

    Example:
        >>> from PIL import Image
        >>> image = Image.new("RGB", (300, 400), (255, 127, 0))
        >>> crop, x = preprocess(image)
        >>> crop.shape, x[0, 0].tolist()
        ((224, 224, 3), [1.0, 0.0, -0.9921875])
        >>> crop, x = preprocess(image, Preprocessing((0, 0, 0), (255, 255, 255), order="BGR"))
        >>> crop[0, 0].tolist(), x[0, 0, 0].item()
        ([255, 127, 0], 0.0)
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
    if not isinstance(preprocessing, Preprocessing):
        rule, got = "be a Preprocessing", type(preprocessing).__name__
        fix = "Pass model.preprocessing."
        raise TypeError(complaint("preprocess", "preprocessing", rule, got, fix))
    if 0 in image.size:
        raise ValueError(
            f"preprocess: image must have pixels, got the size {image.size}. Give another image."
        )
    image = _to_rgb(ImageOps.exif_transpose(image))
    shorter, side = min(image.size), preprocessing.crop
    width, height = (size * preprocessing.shorter_side // shorter for size in image.size)
    method = Image.Resampling[preprocessing.interpolation.upper()]
    image = image.resize((width, height), method)
    left, top = round((width - side) / 2), round((height - side) / 2)
    crop = np.array(image.crop((left, top, left + side, top + side)))
    mean, std = np.array([preprocessing.mean, preprocessing.std], np.float32)
    x = (crop.astype(np.float32) - mean) / std
    return crop, x if preprocessing.order == "RGB" else np.ascontiguousarray(x[..., ::-1])


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
