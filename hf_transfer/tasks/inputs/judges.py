"""Judge inputs by the names of labels, without any training.

CLIP and SigLIP judge pictures; models of entailment (NLI) and chat models judge texts.
"""

import math
from collections.abc import Sequence
from functools import cached_property
from importlib.util import find_spec
from typing import Any, ClassVar

import torch
import transformers
from torch import Tensor, nn
from transformers import (
    AutoImageProcessor,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoModelForZeroShotImageClassification,
    AutoTokenizer,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING_NAMES

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import ModelError
from hf_transfer.models.base_model import BaseModel, quiet, why
from hf_transfer.models.building import longest_input
from hf_transfer.tasks.inputs.pictures import made_small
from hf_transfer.tasks.targets.meanings import spoken

_PAIRS = 64  # of a text and a name that pass through the model together
_LETTERS = 26
_LEAST = 1e-12  # probability, whose logarithm is taken
_FOR_THE_QUESTION = 256  # tokens beside the text
_QUESTION = "Which label fits the text best?"
_USUAL_LENGTH = 512  # tokens, where neither model nor tokenizer says how many


class Judge:
    """A pretrained model that judges inputs by the names of labels.

    Args:
        base: The model, opened.
        names: Of the labels, in the order of their ids.
        template: Sentence that a name is put into, at {}; None takes the usual one.
        each: Whether every label is judged for itself, instead of one against the others.

    Raises:
        ModelError: If it is a model of another kind.
    """

    usual_template: ClassVar[str]
    auto_class: ClassVar[Any]

    def __init__(self, base: BaseModel, names: Sequence[str], template: str | None, *, each: bool) -> None:
        self.base, self.each = base, each
        self.template = template or self.usual_template
        self.prompts = [self.template.replace("{}", spoken(name)) for name in names]
        if problem := self.problem():
            raise ModelError(f"zero_shot={base.name!r} {problem}")

    def problem(self) -> str | None:
        """What the model lacks, as the end of a sentence; None if nothing."""
        raise NotImplementedError

    def answers(self, inputs: Sequence[Any], device: torch.device) -> Tensor:
        """The score of each name for some inputs, (b, c) in float32 on the CPU.

        A softmax over them gives probabilities, or a sigmoid of each where each is judged for itself.
        """
        raise NotImplementedError

    @cached_property
    def tokenizer(self) -> Any:
        """The model's tokenizer."""
        return self.base.load(AutoTokenizer)

    @cached_property
    def model(self) -> nn.Module:
        """The model with its weights, in float32, ready to predict.

        Raises:
            ModelError: If the weights are not there or do not fit.
        """
        try:
            with quiet():
                model, report = self.auto_class.from_pretrained(
                    self.base.location, dtype=torch.float32, output_loading_info=True, **self.base.hub_options
                )
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise ModelError(f"zero_shot={self.base.name!r} cannot be loaded: {why(error)}") from error
        if new := sorted(report["missing_keys"]):
            raise ModelError(
                f"zero_shot={self.base.name!r} lacks {len(new)} weights ({', '.join(new[:3])}): it would "
                "judge at random. Give a whole checkpoint."
            )
        return model.eval()  # type: ignore[no-any-return]


class PictureJudge(Judge):
    """CLIP, SigLIP and their kin: how near a picture is to the sentence with a name."""

    usual_template: ClassVar[str] = "a photo of a {}."
    auto_class: ClassVar[Any] = AutoModelForZeroShotImageClassification

    def problem(self) -> str | None:
        """That it reads no texts, or sets names against each other only."""
        kind = str(self.base.config.model_type)
        if kind not in MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING_NAMES:
            return (
                f"is a {kind}, which does not set pictures beside sentences. Name a model of CLIP or SigLIP, "
                "such as openai/clip-vit-base-patch32."
            )
        if self.each and "siglip" not in kind:
            return (
                "sets names against each other, and here a row may have several labels or none. Name a model "
                "of SigLIP, which judges each for itself, such as google/siglip-base-patch16-224."
            )
        return None

    @cached_property
    def processor(self) -> Any:
        """The model's own resizing and normalisation."""
        return self.base.load(AutoImageProcessor)

    @cached_property
    def sentences(self) -> dict[str, Tensor]:
        """Token ids of the names' sentences; for SigLIP padded to its full length, as it was trained."""
        how: dict[str, Any] = {"padding": True}
        if "siglip" in str(self.base.config.model_type):
            positions = self.base.config.get_text_config().max_position_embeddings
            how = {"padding": "max_length", "max_length": positions}
        return dict(self.tokenizer(self.prompts, return_tensors="pt", truncation=True, **how))

    def answers(self, inputs: Sequence[Any], device: torch.device) -> Tensor:
        """Likeness of each picture and sentence, at the model's own scale."""
        each = [made_small(one, lambda image: self.processor([image], return_tensors="pt")) for one in inputs]
        pixels = {name: torch.cat([one[name] for one in each]) for name in each[0]}
        batch = {name: tensor.to(device) for name, tensor in {**self.sentences, **pixels}.items()}
        found: Tensor = self.model(**batch).logits_per_image
        return found.float().cpu()


class TextJudge(Judge):
    """A model of entailment (NLI): whether a text implies the sentence with a name.

    References:
        Yin et al., "Benchmarking Zero-shot Text Classification", EMNLP 2019,
        https://arxiv.org/abs/1909.00161.
    """

    usual_template: ClassVar[str] = "This example is {}."
    auto_class: ClassVar[Any] = AutoModelForSequenceClassification

    def problem(self) -> str | None:
        """That it has no label for what a text implies."""
        if self._place("entail") is not None:
            return None
        labels = ", ".join(str(name) for name in list((self.base.config.id2label or {}).values())[:4])
        return (
            f"has no label 'entailment' (but {labels}), so it was not made to say what a text implies. Name "
            "a model of NLI, such as facebook/bart-large-mnli."
        )

    def _place(self, start: str) -> int | None:
        """The id of the label that begins so."""
        names = self.base.config.label2id or {}
        return next((place for name, place in names.items() if name.lower().startswith(start)), None)

    @cached_property
    def max_length(self) -> int:
        """Most tokens of a text and a sentence together."""
        limits = (longest_input(self.base), self.tokenizer.model_max_length, _USUAL_LENGTH)
        return min(int(limit) for limit in limits if limit)

    def answers(self, inputs: Sequence[Any], device: torch.device) -> Tensor:
        """How surely each sentence follows; for each alone, less how surely it does not."""
        pairs = [(text, prompt) for text in inputs for prompt in self.prompts]
        order = sorted(range(len(pairs)), key=lambda pair: len(pairs[pair][0]))  # little padding
        entails, denies = self._place("entail") or 0, self._place("contra")
        if denies is None:  # of two labels, the other one
            denies = 1 if entails == 0 else 0
        found = torch.zeros(len(pairs))
        for start in range(0, len(order), _PAIRS):
            some = order[start : start + _PAIRS]
            logits = self._logits([pairs[pair] for pair in some], device)
            found[some] = logits[:, entails] - logits[:, denies] if self.each else logits[:, entails]
        return found.reshape(len(inputs), len(self.prompts))

    def _logits(self, pairs: Sequence[tuple[str, str]], device: torch.device) -> Tensor:
        texts, prompts = zip(*pairs, strict=True)
        batch = self.tokenizer(
            list(texts), list(prompts), truncation="only_first", max_length=self.max_length, padding=True,
            return_tensors="pt",
        )  # fmt: skip
        found: Tensor = self.model(**batch.to(device)).logits
        return found.float().cpu()


class ChatJudge(Judge):
    """A chat model that is asked which label fits: one forward pass, read at the letters of the answers.

    It is asked as the pipeline `decision` of transformers asks.
    """

    usual_template: ClassVar[str] = "{}"
    auto_class: ClassVar[Any] = AutoModelForCausalLM

    def problem(self) -> str | None:
        """That transformers is too old, there are too many names, or the model is no chat model."""
        if find_spec("transformers.decision") is None:
            return f"needs the pipeline 'decision', which transformers {transformers.__version__} has not."
        if not self.each and len(self.prompts) > _LETTERS:
            return f"answers by a letter, and here are {len(self.prompts)} labels: more than {_LETTERS}."
        if self.tokenizer.chat_template is None:
            return (
                "has no chat template, so it cannot be asked. Name a chat model, such as "
                "Qwen/Qwen2.5-0.5B-Instruct."
            )
        return None

    @cached_property
    def pipeline(self) -> Any:
        """What asks the model."""
        from transformers.decision import DecisionConfig
        from transformers.pipelines.decision import DecisionPipeline

        device = next(self.model.parameters()).device
        return DecisionPipeline(
            model=self.model, tokenizer=self.tokenizer, decision_config=DecisionConfig(), device=device
        )

    @cached_property
    def questions(self) -> dict[str, dict[str, Any]]:
        """One question with all names as options, or one a name."""
        if self.each:
            return {
                str(place): {"type": "noul", "instructions": f"Does this label fit the text: {prompt}?"}
                for place, prompt in enumerate(self.prompts)
            }
        options: dict[str, Any] = dict.fromkeys(self.prompts)
        return {"label": {"type": "choice", "instructions": _QUESTION, "criteria": options}}

    def answers(self, inputs: Sequence[Any], device: torch.device) -> Tensor:
        """Logarithm of each option's probability; of each name alone, its log odds."""
        return torch.tensor([self._answer(str(text)) for text in inputs])

    def _answer(self, text: str) -> list[float]:
        given = self.pipeline({"state": self._shortened(text), "questions": self.questions})
        if self.each:
            shares = [given[str(place)]["noul"] for place in range(len(self.prompts))]
            return [math.log(max(p, _LEAST)) - math.log(max(1 - p, _LEAST)) for p in shares]
        shares = given["label"]["probabilities"]
        return [math.log(max(shares[prompt], _LEAST)) for prompt in self.prompts]

    def _shortened(self, text: str) -> str:
        """The text's first tokens, so that question and options still fit."""
        limits = (longest_input(self.base), self.tokenizer.model_max_length)
        most = max(1, min(int(limit) for limit in limits if limit) - _FOR_THE_QUESTION)
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return text if len(ids) <= most else str(self.tokenizer.decode(ids[:most]))
