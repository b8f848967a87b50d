"""Arms that train layers of the backbone: the source alone, DANN, and MCC.

They are trained by the kit's own loop with the same settings, which the source alone decides.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.data.labelled import fingerprint
from hf_transfer.errors import ConfigError
from hf_transfer.folds import derive_seed
from hf_transfer.layers.adapters import merged
from hf_transfer.machine.devices import placed
from hf_transfer.machine.digests import bytes_digest, json_digest
from hf_transfer.replay.encoding import encode_rows
from hf_transfer.replay.replayed import Replay
from hf_transfer.runs.adapt_record import TrainedLayers
from hf_transfer.study.defaults import model_facts, settle
from hf_transfer.study.fold_scorer import environment
from hf_transfer.training.fitting import fit
from hf_transfer.training.job import Fitted, Job
from hf_transfer.training.predicting import predict
from hf_transfer.training.workers import Workers, make_accelerator
from hf_transfer.transfer.features import DomainFeatures
from hf_transfer.transfer.kept_arms import KeptArms
from hf_transfer.transfer.target_term import COMPARISONS, MakeComparison, TargetTerm


@dataclass(frozen=True, eq=False)
class Tuned:
    """A model of which layers of the backbone have learned.

    Attributes:
        model: With its head.
        outputs: Its logits for all rows of the target, (m, c).
    """

    model: nn.Module
    outputs: NDArray[np.float32]


class DeepTraining:
    """Trains models on a source, alone or beside rows of a target.

    Args:
        source: With labels.
        target: Whose labels are not read.
        rows: Rows of the target that may be learned from.
        folder: Where arms are kept until all are trained; None keeps none.

    Raises:
        ConfigError: If the settings are of several trainings, or of more than one training.
    """

    def __init__(
        self,
        source: DomainFeatures,
        target: DomainFeatures,
        rows: NDArray[np.int64],
        folder: Path | None = None,
    ) -> None:
        self.source, self.target, self.rows = source, target, rows
        accelerator = make_accelerator(source.task.settings)
        self.workers = Workers(accelerator, together=False)
        self.config = self._settled(source.task.settings)
        self.replays = [self._replay(one) for one in (source, target)]
        self.kept = None if folder is None else KeptArms(folder, self._identity)

    def tuned(
        self, names: Iterable[str], makes: Mapping[str, MakeComparison] = COMPARISONS
    ) -> dict[str, Tuned]:
        """Train an arm after the other; without a comparison of its name, on the source alone."""
        return {name: self._tuned(name, makes.get(name)) for name in names}

    @property
    def described(self) -> TrainedLayers:
        """What decides the training of each arm."""
        return TrainedLayers(
            **{field.name: getattr(self.config, field.name) for field in fields(TrainedLayers)}
        )

    @property
    def _identity(self) -> str:
        """Digest of all that decides the trainings."""
        rows = bytes_digest(self.rows.astype("<i8").tobytes())
        made_by = vars(environment(self.workers.accelerator.device))
        data = [replay.encoded._fingerprint for replay in self.replays]
        base = self.source.task.base
        return json_digest([self.config.scored(), base.name, base.revision, data, rows, made_by])

    def _tuned(self, name: str, make: MakeComparison | None) -> Tuned:
        """An arm that was kept, or trained now."""
        if self.kept is not None:
            model = placed(self.source.task.build_model(), self.workers.accelerator.device).eval()
            if (outputs := self.kept.load(name, model)) is not None:
                return Tuned(model, outputs.numpy())
        found = self._trained(name, make)
        if self.kept is not None:
            self.kept.keep(name, merged(found.model), torch.from_numpy(found.outputs))
        return found

    def _trained(self, name: str, make: MakeComparison | None) -> Tuned:
        own, other = self.replays
        seed = derive_seed(self.config.seed, "adapt")
        term = None
        if make:
            positions = other.plain.positions_of(self.rows)
            term = TargetTerm(make, other, positions, self.config, derive_seed(seed, "target"))
        job = Job(own.task, own, self.config, seed, self.workers, title=name, term=term)
        fitted = fit(job, np.arange(len(own.encoded)))
        if term:
            term.end()
        return Tuned(fitted.model, self._outputs(fitted))

    def _outputs(self, fitted: Fitted) -> NDArray[np.float32]:
        replay = self.replays[1]
        batches = replay.batches(fitted.model, fitted.freezing)
        everything = np.arange(len(batches.encoded))
        found = predict(batches.learner(fitted.model), batches, everything, self.workers)
        return np.concatenate([found[row] for row in range(len(self.target))])

    def _settled(self, config: RunConfig) -> RunConfig:
        """The settings with every `auto` replaced, as a run on the source would have them."""
        asked = {"lists of settings": len(config.grid()) > 1, "wise": config.wise,
                 "early_stopping": config.early_stopping, "compile": config.compile}  # fmt: skip
        if refused := [name for name, given in asked.items() if given]:
            raise ConfigError(
                f"adapt with --trainable {config.trainable} trains one model an arm, for all its epochs, and "
                f"takes no {', '.join(refused)}. Leave that out."
            )
        task = self.source.task
        torch.manual_seed(config.seed)
        model = placed(task.build_model(), self.workers.accelerator.device)
        pretrained = task.base.has_weights and not config.from_scratch
        facts = model_facts(model, pretrained=pretrained, solver=task.target.solvers[0])
        return settle(config, model, facts, len(self.source))

    def _replay(self, features: DomainFeatures) -> Replay:
        """Batches of one of the two, with what its frozen layers put out stored."""
        task, rows, accelerator = self.source.task, features.data.rows, self.workers.accelerator
        known = fingerprint(rows, features.data.input, features.label_names)  # rows may have been left out
        replay = Replay(task, encode_rows(task, rows, known, accelerator), self.config, accelerator)
        replay.prepare()
        return replay
