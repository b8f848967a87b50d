"""Maps recipes and card templates into the wheel; an editable install reads them where they are."""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Outside(BuildHookInterface):
    """Puts what lies at the top of the repository inside the package, and nowhere else."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the folders when a real wheel is built."""
        if version == "standard":
            build_data["force_include"] |= {
                "recipes": "hf_transfer/_recipes",
                "model_cards": "hf_transfer/_model_cards",
                "accelerate_config.yaml": "hf_transfer/_recipes/accelerate_config.yaml",
            }
