"""Reading a photo, with an error for everything that is none."""

import hashlib
import importlib.util
import warnings
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from xaijax.core._errors import complaint

_SMALLEST = 32
_MOST_PIXELS = 80_000_000


def find_photo(path: str | None) -> Path:
    """The file of a photo; without a path the one that comes with scikit-image."""
    if path is None:
        spec = importlib.util.find_spec("skimage")
        if spec is None or spec.origin is None:
            rule, fix = "be given unless scikit-image is installed", 'pip install "xaijax[explain]"'
            raise ModuleNotFoundError(complaint("explain", "PHOTO", rule, "none", fix))
        return Path(spec.origin).parent / "data" / "coffee.png"
    photo = Path(path)
    if not photo.exists():
        raise FileNotFoundError(
            complaint("explain", "PHOTO", "exist", f"'{photo}'", "Check the path.")
        )
    if not photo.is_file():
        raise IsADirectoryError(complaint("explain", "PHOTO", "be an image file", f"'{photo}'"))
    return photo


def read_photo(path: Path) -> Image.Image:
    """Read and decode a photo.

    Raises:
      ValueError: the file is no image, is damaged, or is too small or too large.
      PermissionError: it cannot be read.
    """
    fix = "Give a JPEG, PNG, WebP or TIFF."
    try:
        with warnings.catch_warnings():
            # Pillow's own limit on pixels warns first; ours comes with a clear message.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                width, height = image.size
                if min(width, height) < _SMALLEST or width * height > _MOST_PIXELS:
                    raise ValueError(_size_complaint(f"{width}x{height}"))
                image.load()
                return image.copy()
    except UnidentifiedImageError:
        raise ValueError(complaint("explain", "PHOTO", "be an image", f"'{path}'", fix)) from None
    except Image.DecompressionBombError:
        raise ValueError(_size_complaint("more than twice that")) from None
    except PermissionError:
        rule = "be readable"
        raise PermissionError(
            complaint("explain", "PHOTO", rule, f"'{path}'", "Check its mode.")
        ) from None
    except (OSError, SyntaxError, EOFError) as error:
        # Pillow's decoders say so of a file that ends too early or whose chunks are broken.
        got = f"'{path}': {error}"
        raise ValueError(
            complaint("explain", "PHOTO", "be a whole image", got, "Copy it again.")
        ) from None


def _size_complaint(got: str) -> str:
    rule = f"have at least {_SMALLEST} pixels a side and at most {_MOST_PIXELS // 10**6} million"
    return complaint("explain", "PHOTO", rule, got, "Resize it first.")


def fingerprint(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
