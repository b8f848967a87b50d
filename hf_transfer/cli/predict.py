"""`hf-transfer predict`: label new inputs with a run's final model."""

import argparse
from typing import Any

from hf_transfer import _guard  # noqa: F401
from hf_transfer.cli.verb import add_verb, show


def add_predict(verbs: Any) -> None:
    """Add `predict` to the command line."""
    parser = add_verb(verbs, "predict", _predict, "label new inputs with a run's final model")
    parser.add_argument("run", metavar="RUN", help="the run's folder, or user/name of one on the Hub")
    parser.add_argument(
        "inputs", nargs="+", metavar="INPUT", help="texts, pictures, or a file or folder of them"
    )
    parser.add_argument(
        "--raw",
        action="store_true",
        help="take probabilities as they were learned, without the temperature that calibrates them",
    )
    parser.add_argument(
        "--threshold",
        choices=("f1", "balanced_accuracy"),
        help="of two classes, choose by a probability that is tuned for this on the out-of-fold rows",
    )
    parser.add_argument(
        "--trust_remote_code", action="store_true", help="run code that lies in the model's folder"
    )


def _predict(options: argparse.Namespace) -> int:
    from hf_transfer.study.final.predict import predict_inputs

    found = predict_inputs(
        options.run,
        options.inputs,
        raw=options.raw,
        threshold=options.threshold,
        trust_remote_code=options.trust_remote_code,
    )
    show(options, found)
    return 0
