"""The command line: `xaijax explain | layers | methods | cite`."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

import xaijax
from xaijax.cli._interrupt import interruptible
from xaijax.core._errors import complaint, nearest
from xaijax.core._table import table

_DESCRIPTION = "Explain what an image classifier saw, and list and cite the methods."
_EXPLAIN = """\
Explain a prediction: of EfficientNet-Lite0 (1000 ImageNet classes) for a photo, of a classifier of film reviews
(MiniLM) for a sentence, or of a scikit-learn model for a row of a table.

Writes into the output folder:
  explanation.png    a photo, the five best classes, one overlay per method; a row's features
  explanation.npz    of a photo: the raw maps, not resized and not normalised
  explanation.html   of a sentence: its words on colours
  explanation.csv    of a sentence or a row: the raw values of words or columns
  result.json        settings, scores, standard errors, fit, timings, versions
  refs.bib           what to cite

Grad-CAM explains the logit, LIME and Shapley values the probability of the target; of a regression, its prediction.
"""
_EXAMPLES = """\
examples:
  xaijax explain cup.jpg --target espresso --methods grad_cam,lime --out cup
  xaijax explain --text "A brilliant film with a terrible end."
  xaijax explain --table data.csv --row 3 --model model.joblib --trust-model
"""
# Which options go with what is explained.
_SAMPLING = ("methods", "target", "samples", "seed", "out", "force")
_OPTIONS = {
    "photo": ("photo", *_SAMPLING, "layer", "superpixels"),
    "text": ("text", *_SAMPLING),
    "table": ("table", "row", "model", "trust_model", *_SAMPLING),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0, 2 for a mistake of the user, 130 when interrupted."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        with interruptible():
            return options.run(options)
    except KeyboardInterrupt:
        print("\nxaijax: interrupted.", file=sys.stderr)
        sys.stdout.flush()
        # A computation that still runs in its thread cannot be joined.
        os._exit(130)
    except BrokenPipeError:
        os._exit(0)
    except (ValueError, OSError, ModuleNotFoundError) as error:
        if options.debug:
            raise
        # An import that failed has a name; our own errors say themselves what to install.
        hint = (
            f'. Run: pip install "xaijax[{_extra(options)}]"'
            if getattr(error, "name", None)
            else ""
        )
        print(f"xaijax: error: {error}{hint}", file=sys.stderr)
        return 2


def _extra(options: argparse.Namespace) -> str:
    """What to install for a command."""
    given = [kind for kind in ("text", "table") if getattr(options, kind, None) is not None]
    return given[0] if given else "explain"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="xaijax", description=_DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"xaijax {xaijax.__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    explain = commands.add_parser(
        "explain",
        help="explain a photo, a sentence or a row of a table",
        description=_EXPLAIN,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_EXAMPLES,
    )
    explain.add_argument(
        "photo",
        nargs="?",
        metavar="PHOTO",
        help="an image file (default: scikit-image's coffee cup)",
    )
    explain.add_argument("--text", metavar="SENTENCE", help="a sentence, instead of a photo")
    explain.add_argument(
        "--table",
        metavar="CSV",
        help="a table of numbers, whose first line names the columns, instead of a photo",
    )
    explain.add_argument(
        "--row", type=int, metavar="N", help="which of its rows; the first below the names is 0"
    )
    explain.add_argument(
        "--model", metavar="FILE", help="the model of the table: of scikit-learn, saved by joblib"
    )
    explain.add_argument(
        "--trust-model",
        action="store_true",
        default=None,
        help="load the model although it is a pickle, which can run any program as you",
    )
    explain.add_argument(
        "--methods",
        metavar="A,B,...",
        help="of grad_cam (photos alone), lime, shapley (default: all)",
    )
    explain.add_argument(
        "--target",
        default="auto",
        metavar="auto|INDEX|LABEL",
        help="the class to explain: the best one (auto), its index (0-999 for a photo), or its name",
    )
    explain.add_argument(
        "--samples",
        type=int,
        default=1000,
        metavar="N",
        help="model evaluations of each sampling method (default: 1000); Shapley values take at least "
        "two permutations and their reverses",
    )
    explain.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of the samples (default: 0)"
    )
    explain.add_argument(
        "--layer",
        metavar="NAME",
        help="of Grad-CAM; see 'xaijax layers' (default: the last feature map)",
    )
    explain.add_argument(
        "--superpixels",
        metavar="METHOD",
        help="the parts of a photo that are hidden: quickshift, slic, felzenszwalb, grid (default: quickshift)",
    )
    explain.add_argument(
        "--out",
        default="explanation",
        metavar="DIR",
        help="the output folder (default: explanation)",
    )
    explain.add_argument(
        "--force", action="store_true", help="replace results in the output folder"
    )
    explain.set_defaults(run=_run_explain)

    layers = commands.add_parser("layers", help="list the layers of the model, for --layer")
    layers.set_defaults(run=_run_layers)

    methods = commands.add_parser("methods", help="list the methods and where they stand")
    methods.set_defaults(run=_run_methods)

    cite = commands.add_parser("cite", help="print BibTeX for methods and xaijax")
    cite.add_argument("methods", nargs="*", metavar="METHOD", help="as 'xaijax methods' names them")
    cite.set_defaults(run=_run_cite)
    return parser


def _run_explain(options: argparse.Namespace) -> int:
    kinds = [kind for kind in _OPTIONS if getattr(options, kind) is not None] or ["photo"]
    if len(kinds) > 1:
        rule = "be one of PHOTO, --text and --table"
        raise ValueError(complaint("explain", "the input", rule, f"{len(kinds)} of them"))
    (kind,) = kinds
    # Only what was asked for counts: the rest has the defaults of its job.
    given = {name: value for name, value in vars(options).items() if value is not None}
    known = set().union(*_OPTIONS.values())
    for name in sorted(given.keys() & known - set(_OPTIONS[kind])):
        option, goes = name.replace("_", "-"), [k for k, v in _OPTIONS.items() if name in v]
        rule = f"go with a {goes[0]}"
        raise ValueError(complaint("explain", f"--{option}", rule, f"a {kind}"))
    # Only this command needs the models and the plots.
    module = {"photo": "_explain", "text": "_text", "table": "_table"}[kind]
    job = importlib.import_module(f"xaijax.cli.{module}")
    return job.explain(job.Job(**{name: given[name] for name in _OPTIONS[kind] if name in given}))


def _run_layers(_: argparse.Namespace) -> int:
    import jax
    import numpy as np

    from xaijax.models import efficientnet_lite0

    print(xaijax.layers(efficientnet_lite0(), jax.ShapeDtypeStruct((224, 224, 3), np.float32)))
    return 0


def _run_methods(_: argparse.Namespace) -> int:
    rows = [
        (name, t.scope, t.access, t.stage, t.models)
        for name, t in ((k, explain.taxonomy) for k, explain in xaijax.explainers().items())
    ]
    print(table(("method", "scope", "access", "stage", "models"), rows))
    return 0


def _run_cite(options: argparse.Namespace) -> int:
    known = xaijax.explainers()
    for name in options.methods:
        if name not in known:
            fix = f"{nearest(name, known)} See 'xaijax methods'.".strip()
            raise ValueError(
                complaint("cite", "METHOD", "be the name of a method", repr(name), fix)
            )
    print(xaijax.citation(*[known[name] for name in options.methods]), end="")
    return 0
