"""Train a part of a run's folds beside its folder, and join such parts: for clusters that start scripts."""

from collections.abc import Sequence
from pathlib import Path

from hf_transfer import _guard  # noqa: F401
from hf_transfer.cluster.arriving import write_arrived
from hf_transfer.config.parts import read_part
from hf_transfer.config.run_config import RunConfig
from hf_transfer.errors import ConfigError, DoneEarlyError
from hf_transfer.machine.wording import count
from hf_transfer.runs.fold_result import FoldResult
from hf_transfer.runs.run_folder import RunFolder
from hf_transfer.runs.wise import places_of
from hf_transfer.study.experiment import Unit
from hf_transfer.study.final.final_model import make_final
from hf_transfer.study.study import Study
from hf_transfer.training.heads.fitting import heads_together


def parts_folder(output_dir: str) -> Path:
    """Where the parts of a run are, each in a run's folder of its own, so that no two write to one place."""
    path = Path(output_dir)
    return path.with_name(f"{path.name}.parts")


def part_folder(output_dir: str, part: str) -> Path:
    """Where one part of a run is."""
    return parts_folder(output_dir) / part.replace("/", "-of-")


class OnePart:
    """An engine that trains a part of the folds, and stops.

    Args:
        part: Which, as the setting says it.
    """

    def __init__(self, part: str) -> None:
        self.part = part

    def train(self, study: Study, units: Sequence[Unit]) -> None:
        """Train the folds of the part; the first also trains the heads that are trained together.

        Raises:
            DoneEarlyError: When they are there.
        """
        index, number = read_part(self.part)
        study.runner.replay.prepare()
        single, own = list(units), []
        for group in study.heads(units):
            if heads_together(study.runner.replay, group[0].config) is not None:
                single = [unit for unit in single if unit not in group]
                own += group if index == 0 else []
        own += single[index::number]
        study.train_here(own)
        raise DoneEarlyError(
            f"Part {self.part} is there, {count(len(own), 'fold')} in {study.runner.folder.path}. When all "
            "parts are, the same command without --part joins them."
        )

    def finish(self, study: Study, config: RunConfig, results: Sequence[FoldResult]) -> str | None:
        """Not reached, as training a part ends the run."""
        raise NotImplementedError

    def price(self, study: Study, units: Sequence[Unit]) -> str:
        """What the whole run takes here."""
        return _here(study).price()


class AllParts:
    """An engine that takes the folds of finished parts, and trains here what they lack.

    Args:
        folder: Where the parts are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def train(self, study: Study, units: Sequence[Unit]) -> None:
        """Copy what the parts have of some folds, and train the others."""
        parts = [RunFolder(path.parent) for path in sorted(self.folder.glob("*-of-*/config.yaml"))]
        for unit in units:
            identity = study.experiment.identity(unit.config)
            for part in parts if study.runner.finished(unit) is None else ():
                if _has(part, unit, identity):
                    for place in places_of(unit.place, unit.config):
                        write_arrived(study.runner.folder.path, _files(part, place))
                    break
        _here(study).train(units)

    def finish(self, study: Study, config: RunConfig, results: Sequence[FoldResult]) -> str | None:
        """Make the final model here."""
        study = _here(study)
        study.runner.replay.prepare()
        return make_final(study, config, results)[0].error

    def price(self, study: Study, units: Sequence[Unit]) -> str:
        """What the whole run takes here."""
        return _here(study).price()


def _here(study: Study) -> Study:
    """The same study, which trains in this process."""
    runner = study.runner
    return Study(study.experiment, runner.accelerator, runner.folder, make_replay=lambda: runner.replay)


def _has(part: RunFolder, unit: Unit, identity: str) -> bool:
    """Whether a part has a fold.

    Raises:
        ConfigError: If it has that of another run.
    """
    try:
        return part.finished(unit.place, identity) is not None
    except ConfigError as error:
        raise ConfigError(
            f"{part.path} is a part of another run: of other settings, rows, or another base model. Remove "
            "that folder, or give another --output_dir."
        ) from error


def _files(part: RunFolder, place: str) -> dict[str, bytes]:
    paths = (path for path in sorted(part.unit(place).rglob("*")) if path.is_file())
    return {path.relative_to(part.path).as_posix(): path.read_bytes() for path in paths}
