"""Write a figure as a paper takes it."""

import os

import matplotlib
from matplotlib.figure import Figure


def save(figure: Figure, path: str | os.PathLike[str], *, dpi: float = 300) -> None:
    """Write a figure: its text as text that can be selected and edited, each picture as one image.

    Args:
      figure: the figure.
      path: the file, whose ending says the format: `.pdf` and `.svg` are vector graphics, `.png` is not.
      dpi: the resolution of the pictures, and of a `.png` as a whole.

    Examples:
      >>> import tempfile
      >>> from matplotlib.figure import Figure
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     save(Figure((1, 1)), f"{folder}/figure.pdf")
    """
    # TrueType in PDF, which publishers ask for, and characters instead of outlines in SVG.
    with matplotlib.rc_context({"pdf.fonttype": 42, "svg.fonttype": "none"}):
        figure.savefig(path, dpi=dpi)
