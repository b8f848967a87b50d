"""`hf-transfer export`: write a run's final model for other runtimes."""

import argparse
from typing import Any

from hf_transfer import _guard  # noqa: F401
from hf_transfer.cli.verb import add_verb, show


def add_export(verbs: Any) -> None:
    """Add `export` to the command line."""
    parser = add_verb(verbs, "export", _export, "write a run's final model for other runtimes")
    parser.add_argument("run", metavar="RUN", help="the run's folder")
    parser.add_argument(
        "--onnx", action="store_true", required=True, help="as ONNX, checked against the model itself"
    )
    parser.add_argument(
        "--trust_remote_code", action="store_true", help="run code that lies in the model's folder"
    )


def _export(options: argparse.Namespace) -> int:
    from hf_transfer.study.final.export import export_onnx

    path = export_onnx(options.run, trust_remote_code=options.trust_remote_code)
    show(options, ({"onnx": str(path)}, str(path)))
    return 0
