"""Entry point of `hf-transfer`, outside the package, to explain itself when another one hides it."""

import sys


def main() -> int:
    """Run the command line, or say in one line that `hf_transfer` is somebody else's."""
    try:
        from hf_transfer.cli.main import main as run
        from hf_transfer.cli.main import prepare_process
    except ImportError as error:
        if "hf_transfer" not in str(error):
            raise
        print(_explain(error), file=sys.stderr)
        return 2
    prepare_process()
    return run()


def _explain(error: ImportError) -> str:
    if "hf-transfer-kit" in str(error):
        return f"ImportError: {error}"
    return (
        "ImportError: the `hf_transfer` on your path is not hf-transfer-kit but another package, probably "
        "the download accelerator of that name. To fix it: pip uninstall -y hf_transfer && "
        "pip install --force-reinstall --no-deps hf-transfer-kit"
    )


if __name__ == "__main__":
    sys.exit(main())
