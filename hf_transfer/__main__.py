"""`python -m hf_transfer` is `hf-transfer`."""

import sys

from hf_transfer.cli.main import main, prepare_process

if __name__ == "__main__":
    prepare_process()
    sys.exit(main())
