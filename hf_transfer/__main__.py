"""`python -m hf_transfer` is `hf-transfer`."""

import sys

from hf_transfer.cli import main
from hf_transfer.scrubbing import show_uncaught

if __name__ == "__main__":
    sys.excepthook = show_uncaught
    sys.exit(main())
