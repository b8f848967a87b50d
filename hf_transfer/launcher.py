"""What launchers of several processes say, and are told."""

import json
import os
import time
from pathlib import Path

from hf_transfer import _guard  # noqa: F401


def is_main_process() -> bool:
    """Whether this process is the first of its launch, or alone."""
    return os.environ.get("RANK", "0") == "0"


def tell_launcher(reason: str, traceback: str) -> None:
    """Leave why this process ends where PyTorch's launcher looks for it, to be shown at the very end."""
    file = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if file:
        details = {"py_callstack": traceback, "timestamp": str(int(time.time()))}
        Path(file).write_text(json.dumps({"message": {"message": reason, "extraInfo": details}}), "utf-8")
