"""`hf-transfer predict`: label new inputs with a run's final model."""

import argparse
from typing import Any

from hf_transfer import _guard  # noqa: F401
from hf_transfer.cli.verb import add_verb, refuse_launched, show


def add_predict(verbs: Any) -> None:
    """Add `predict` to the command line."""
    parser = add_verb(verbs, "predict", _predict, "label new inputs with a run's final model")
    parser.add_argument("run", metavar="RUN", help="the run's folder, or user/name of one on the Hub")
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="texts, pictures, a file or folder of them, or - for lines of standard input",
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="write a .csv, .jsonl or .parquet file with the columns of the inputs' file and the answers",
    )
    parser.add_argument(
        "--top_k", type=int, default=1, metavar="N", help="the N likeliest labels and their probabilities"
    )
    parser.add_argument("--all_probabilities", action="store_true", help="the probability of every label")
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

    refuse_launched("predict")
    answers, text = predict_inputs(
        options.run,
        options.inputs,
        output=options.output,
        raw=options.raw,
        threshold=options.threshold,
        top_k=options.top_k,
        all_probabilities=options.all_probabilities,
        trust_remote_code=options.trust_remote_code,
    )
    show(options, ({"output": options.output, "rows": len(answers)} if options.output else answers, text))
    return 0
