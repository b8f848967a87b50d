"""Notes on how a base model was used: its original head, its dropout."""

import re
from collections.abc import Sequence

from torch import nn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.wording import count, some
from hf_transfer.models.base_model import BaseModel

# Not a language model's, whose configuration says two labels too.
_CLASSIFIER = re.compile("For(Sequence|Token|Image|Audio)Classification")
_HIGHEST_DROPOUT = 0.9  # above, a network learns next to nothing


def head_note(base: BaseModel, label_names: Sequence[str]) -> str | None:
    """Say what happened to the checkpoint's own head, if it had one."""
    classifies = base.is_timm or any(map(_CLASSIFIER.search, base.config.architectures or []))
    if not base.has_weights or not classifies or base.config.num_labels == 0:
        return None
    return own_head_note(base, label_names)


def own_head_note(base: BaseModel, label_names: Sequence[str]) -> str:
    """Say what happened to a checkpoint's own head."""
    names = [str(name) for name in (getattr(base.config, "id2label", None) or {}).values()]
    if names == list(label_names):
        return (
            f"The checkpoint's own head for the same {len(names)} labels was kept: if it learned from these "
            "rows, the scores are too good."
        )
    new = f"a new one for {count(len(label_names), 'label')}"
    return f"The checkpoint's own head ({count(len(names), 'label')}) was replaced by {new}."


def kept_share_note(base: BaseModel) -> str | None:
    """Say that a dropout setting was read as a keep probability."""
    share = base.kept_share
    if share is None:
        return None
    return (
        f"classifier_dropout_prob={share:g} of the model's configuration was read as the share that is kept, "
        f"as in the original code: dropout {1 - share:g}."
    )


def language_note(base: BaseModel) -> str | None:
    """Say which language's adapters are used, where the model names none."""
    language = base.language
    if language is None:
        return None
    others = some(base.config.languages, noun="language")
    return (
        f"Texts are read by the model's adapters of {language}, as its configuration names no language. For "
        f"another of its languages ({others}), set default_language in its config.json."
    )


def dropout_note(model: nn.Module) -> str | None:
    """Warn of dropout that blocks nearly everything, as in a few published configurations."""
    rates = [module.p for module in model.modules() if isinstance(module, nn.Dropout)]
    highest = max(rates, default=0.0)
    if highest < _HIGHEST_DROPOUT:
        return None
    return (
        f"The model's configuration sets a dropout of {highest:g}: in training hardly anything gets through "
        "it, and the layers below may not learn. Lower it in the model's config.json."
    )
