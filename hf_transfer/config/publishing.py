"""Settings of the final model: how it is made, and where it is pushed."""

from dataclasses import dataclass

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.licenses import license_problem
from hf_transfer.config.setting import Group, setting


@dataclass(frozen=True, kw_only=True)
class PublishingSettings(Group):
    """How the final model is made, and where it is pushed."""

    heading = "What is published"

    final: str = setting(
        "refit",
        "What to publish: a model of all rows, the folds' models together, their mean weights, or none.",
        choices=("refit", "ensemble", "soup", "none"),
        scored=False,
    )
    report_to: str = setting(
        "none", "Tracker.", choices=("none", "tensorboard", "wandb", "trackio", "mlflow"), scored=False
    )
    push_to_hub: str | None = setting(
        None, "Repository user/name to publish to.", aliases=("hub_model_id",), scored=False
    )
    private: bool = setting(
        False, "Make the repository private.", aliases=("hub_private_repo",), scored=False
    )
    license: str | None = setting(None, "Licence identifier of the Hub for the model card.", scored=False)

    def problems(self) -> list[str]:
        """A licence that the Hub does not know."""
        problem = None if self.license is None else license_problem(self.license)
        return [problem] if problem else []
