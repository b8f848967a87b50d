"""One question, its answer and the evidence."""

from dataclasses import dataclass
from typing import Literal

from hf_transfer import _guard  # noqa: F401

# What a question is called whatever its words, each with a page of that name in docs/verdicts/.
Code = Literal[
    "good-start", "worth-it", "better-than-another", "which-layers", "which-rate", "which-settings",
    "learned-enough", "overfits", "random-folds", "related-rows", "published", "another-domain", "adapted",
    "worth-averaging", "added-source",
]  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """One question, its answer in a few words, and the evidence in sentences."""

    code: Code
    question: str
    answer: str
    words: str
