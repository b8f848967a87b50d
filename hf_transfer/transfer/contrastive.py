"""SetFit, trained by its own package, beside heads on stored features: the encoder learns from few texts.

Its contrastive step draws texts of one class together and those of others apart; a logistic head follows.
"""

import io
import logging
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.data.labelled import LabelledData
from hf_transfer.errors import ConfigError, DataError, ModelError
from hf_transfer.folds import derive_seed
from hf_transfer.machine.progress import own_bars, progress_bar
from hf_transfer.models.base_model import UNUSABLE, first_line, quiet
from hf_transfer.runs.shots_record import SetFitScore, ShotScore
from hf_transfer.scores.draws import Pool, paired_draws
from hf_transfer.tasks import Task

Ints = NDArray[np.int64]


class SetFit:
    """What learns from a few texts of a data set and then answers all of them.

    Args:
        data: The rows, whose inputs are texts.
        task: Of which the base model and its settings are used.
        device: That trains.

    Raises:
        ConfigError: If `setfit` is not installed.
        DataError: If the inputs are not texts.

    References:
        Tunstall et al., "Efficient Few-Shot Learning Without Prompts", 2022, https://arxiv.org/abs/2209.11055.
    """

    def __init__(self, data: LabelledData, task: Task, device: Any) -> None:
        require_setfit()
        self.texts = list(data.rows["input"][:])
        if not all(isinstance(text, str) for text in self.texts):
            raise DataError(
                f"setfit learns from texts alone, and an input of {data.name} is {data.input.name}. Leave "
                "--setfit out."
            )
        self.task, self.device = task, device

    def compared(self, pool: Pool, sizes: Sequence[ShotScore], drawn: Ints, seed: int) -> list[SetFitScore]:
        """Score it beside the best head of each size, in the same draws and on the same rows.

        Args:
            pool: The rows with their features, in the order of the texts.
            sizes: What heads on the features score.
            drawn: Rows of each class, (b, c, most), whose start is the draw of fewer rows.
            seed: Of all draws.
        """
        bar = progress_bar("SetFit", total=len(sizes) * len(drawn), unit="draw")
        with bar:
            return [self._size(pool, size, drawn[:, :, : size.shots], seed, bar) for size in sizes]

    def _size(self, pool: Pool, size: ShotScore, drawn: Ints, seed: int, bar: Any) -> SetFitScore:
        began = time.monotonic()
        labels = np.repeat(np.arange(pool.num_classes), size.shots)
        decided = []
        for number, rows in enumerate(drawn):
            own = derive_seed(seed, "setfit", size.shots, number)
            decided.append(self.answers(rows.reshape(-1), labels, seed=own))
            bar.update()
        best = max(size.solvers, key=lambda name: size.solvers[name])
        scores, beside = pool.judged(np.stack(decided), drawn), pool.score(best, drawn, seed=seed).draws
        return SetFitScore(
            shots=size.shots,
            solver=best,
            draws=scores.tolist(),
            solver_draws=beside.tolist(),
            seconds=time.monotonic() - began,
            **paired_draws(scores, beside)._asdict(),
        )

    def answers(self, rows: Ints, labels: Ints, *, seed: int) -> Ints:
        """The class of every row, (n,), by the package's own settings, after learning from some rows.

        Args:
            rows: To learn from, (k,).
            labels: Their classes, (k,).
            seed: Of the pairs and of dropout.

        Raises:
            ModelError: If the package cannot read the base model.
        """
        import setfit
        from datasets import Dataset
        from sklearn.linear_model import LogisticRegression

        learned = Dataset.from_dict({"text": [self.texts[row] for row in rows], "label": labels.tolist()})
        with TemporaryDirectory() as folder, _silent():
            model = setfit.SetFitModel(model_body=self._body(), model_head=LogisticRegression())
            given = setfit.TrainingArguments(
                output_dir=folder,
                seed=seed,
                report_to="none",
                save_strategy="no",
                logging_strategy="no",
                show_progress_bar=False,
            )
            setfit.Trainer(model=model, args=given, train_dataset=learned).train()
            found = model.predict(self.texts, use_labels=False, show_progress_bar=False)
        return np.asarray(found, np.int64)

    def _body(self) -> Any:
        """The base model anew, pooled as `sentence_transformers` has it."""
        from sentence_transformers import SentenceTransformer

        base, most = self.task.base, self.task.settings.max_length
        options = {"trust_remote_code": base.trust_remote_code, "revision": base.revision}
        try:
            body = SentenceTransformer(
                base.location, device=str(self.device), local_files_only=True, **options
            )
        except UNUSABLE as error:
            raise ModelError(
                f"setfit cannot read base_model={base.name!r}: {first_line(error)} Leave --setfit out."
            ) from error
        if most:
            body.max_seq_length = most
        return body


def require_setfit() -> None:
    """Stop if SetFit is not installed.

    Raises:
        ConfigError: With what to install.
    """
    try:
        import setfit  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            'setfit needs the package of that name: pip install "hf-transfer-kit[setfit]". Or leave '
            f"--setfit out. ({first_line(error)})"
        ) from error


@contextmanager
def _silent() -> Iterator[None]:
    """Let the package neither print nor ask the Hub for what a model card would say."""
    from huggingface_hub import constants

    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    talks = logging.getLogger("setfit")
    level = talks.level
    talks.setLevel(logging.ERROR)
    try:
        with quiet(), own_bars(), warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        talks.setLevel(level)
        constants.HF_HUB_OFFLINE = before
