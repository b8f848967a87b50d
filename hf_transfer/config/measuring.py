"""Settings of extra measurements: more metrics, and control runs."""

from dataclasses import dataclass

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.setting import Group, setting


@dataclass(frozen=True, kw_only=True)
class MeasuringSettings(Group):
    """Extra metrics and control runs, on top of the scores of the folds."""

    heading = "What is measured"

    metrics: tuple[str, ...] = setting(
        (), "More `evaluate` metrics of the Hub by name, comma-separated.", scored=False
    )
    metric_for_best_model: str | None = setting(
        None,
        "Score that decides what is best, and is named first; whether more of it is better follows from it.",
        scored=False,
    )
    at_specificity: float | None = setting(
        None,
        "Specificity at which each class or label is to be found, such as 0.9: sensitivity there, area under "
        "the ROC curve and Brier score, each with an interval.",
        scored=False,
    )
    learning_curve: bool = setting(
        False,
        "Also train on 10, 20, 40 and 80 % of the rows, and predict the score with twice as many.",
        scored=False,
    )
    shuffled_labels: int = setting(
        0,
        "Number of folds to train on shuffled labels too, which reveals leaks and memorised rows.",
        scored=False,
        at_least=0,
    )
    add_source: tuple[str, ...] = setting(
        (),
        "Other labelled data, comma-separated: does it help to add it to every training part? Tested beside "
        "the rows of the run alone: on features of a frozen backbone, else by training each fold with it.",
        scored=False,
    )
    zero_shot: str | None = setting(
        None,
        "Model that judges each row without training too, by the names of the classes: CLIP or SigLIP for "
        "pictures, an NLI model for texts; auto is the base model itself.",
        scored=False,
    )
    zero_shot_template: str | None = setting(
        None,
        "Sentence that zero_shot puts a class's name into, at {}; when not given, 'a photo of a {}.' or "
        "'This example is {}.'",
        scored=False,
    )

    def problems(self) -> list[str]:
        """A share that is none; a template without a place for the name, or without a model."""
        problems, template = [], self.zero_shot_template
        if self.at_specificity is not None and not 0 < self.at_specificity < 1:
            problems.append(f"at_specificity={self.at_specificity!r} must be above 0 and below 1, e.g. 0.9.")
        if template is not None and template.count("{}") != 1:
            problems.append(
                f"zero_shot_template={template!r} must hold {{}} once, where the class's name goes."
            )
        elif template is not None and not self.zero_shot:
            problems.append("zero_shot_template is of no use without zero_shot; name a model.")
        return problems
