"""`python -m hf_transfer` is `hf-transfer`."""

import sys

from hf_transfer.cli import main, show_uncaught

if __name__ == "__main__":
    sys.excepthook = show_uncaught
    sys.exit(main())
