"""`python -m hf_transfer` is `hf-transfer`."""

import sys

from hf_transfer.cli import main

if __name__ == "__main__":
    sys.exit(main())
