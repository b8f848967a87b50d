"""Tell this package from the download accelerator of the same import name.

Both write `site-packages/hf_transfer/__init__.py`, and pip does not notice. Every public
submodule imports this one first, as the `__init__` beside it may no longer be ours.
"""

import sys
import warnings
from pathlib import Path

KIT = "hf-transfer-kit"

MEND = (
    "Both install into the same folder. To fix it: `pip uninstall -y hf_transfer && "
    "pip install --force-reinstall --no-deps hf-transfer-kit`. huggingface_hub 1.0 and later "
    "does not use the accelerator; unset HF_HUB_ENABLE_HF_TRANSFER."
)


def accelerator_beside() -> bool:
    """Whether the accelerator is installed in the same folder."""
    return any(Path(__file__).parent.glob("*.abi3.so"))


def check_package() -> None:
    """Stop if the `hf_transfer` that was imported is not this kit.

    Raises:
        ImportError: If another package, or nothing, provides `hf_transfer/__init__.py`.
    """
    package = sys.modules.get("hf_transfer")
    if getattr(package, "__kit__", None) == KIT:
        if accelerator_beside():
            warnings.warn(f"The download accelerator `hf_transfer` is installed too. {MEND}", stacklevel=2)
        return
    place = getattr(package, "__file__", None) or "a folder without __init__.py"
    raise ImportError(
        f"The `hf_transfer` on your path is not {KIT} but another package, probably the download "
        f"accelerator `hf_transfer` from PyPI ({place}). {MEND}"
    )


check_package()
