"""Find recipes and card templates: beside the package in a checkout, inside it in a wheel."""

from pathlib import Path

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import ConfigError

_PACKAGE = Path(__file__).resolve().parents[1]


def recipes_folder() -> Path:
    """Folder of the recipes and their YAML presets."""
    return _folder("recipes")


def model_cards_folder() -> Path:
    """Folder of the model card templates, one file a Hub task id."""
    return _folder("model_cards")


def _folder(name: str) -> Path:
    installed, checkout = _PACKAGE / f"_{name}", _PACKAGE.parent / name
    if installed.is_dir():
        return installed
    # Without our pyproject.toml this is site-packages, where `recipes` would be somebody else's.
    if checkout.is_dir() and (_PACKAGE.parent / "pyproject.toml").is_file():
        return checkout
    raise ConfigError(
        f"The kit's {name} are missing: neither {installed} nor a checkout's {checkout} is there. "
        "Install it again: `pip install --force-reinstall --no-deps hf-transfer-kit`."
    )
