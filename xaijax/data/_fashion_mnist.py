"""Fashion-MNIST: 70000 pictures of clothes.

Xiao, Rasul and Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms",
arXiv:1708.07747; from Debian's package of it.

References:
    xiao2017fashion
"""

from pathlib import Path

import numpy as np

from xaijax.data._data_set import Source
from xaijax.data._idx import read_idx
from xaijax.data._packaged import Contents, Packaged, raw

#: Where Debian's package has the files.
FOLDER = Path("/usr/share/datasets/fashion-mnist")
_INSTALL = "Run: apt-get install dataset-fashion-mnist. Or give the folder that has them."
_SHA256 = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}


class FashionMnist(Packaged, skip_registration=True):
    """The 60000 and 10000 pictures of Debian's dataset-fashion-mnist."""

    example = raw((28, 28, 1), np.uint8)
    class_names = (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    )

    def read(self) -> Contents:
        """Read them from Debian's files, or the same in another folder."""
        folder = FOLDER if self.folder is None else Path(self.folder)
        source = Source("dataset-fashion-mnist==0.0~git20200523.55506a9-1 (Debian)", "MIT")
        return Contents(*read_idx("load", [folder], _SHA256, _INSTALL), source)
