"""Place the units of a study on machines, and collect what comes back."""

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from hf_transfer import _guard  # noqa: F401
from hf_transfer.cluster.arriving import write_arrived
from hf_transfer.cluster.filling import fill
from hf_transfer.cluster.handing import Carrier, Outcome, Piece, Plain, done
from hf_transfer.cluster.parcel import Parcel, bulk_key, pack, plain_unit
from hf_transfer.config.run_config import RunConfig
from hf_transfer.errors import ConfigError
from hf_transfer.machine.progress import progress_bar
from hf_transfer.machine.wording import count, duration
from hf_transfer.replay.features.stored import StoredFeatures
from hf_transfer.runs.fold_result import FoldResult
from hf_transfer.runs.wise import places_of
from hf_transfer.study.estimate import sum_of_trainings
from hf_transfer.study.experiment import Unit
from hf_transfer.study.study import Study

_AHEAD = 1000  # pieces of work that are handed over at once; what places them looks through all of them


class Placing:
    """An engine that places each unit, heads that train together as one, and features, on some machine.

    Args:
        carrier: What carries the work there.
    """

    def __init__(self, carrier: Carrier) -> None:
        self.carrier = carrier
        self._bulk: dict[str, Any] = {}  # what stands for rows and base models, by their key
        self._about: dict[str, Any] = {}

    def train(self, study: Study, units: Sequence[Unit]) -> None:
        """Train and score the unfinished ones of some folds."""
        groups = [group for group in study.heads(units) if _may_be_together(group)]
        orders = [
            ({"kind": "heads", "units": [plain_unit(unit) for unit in group]}, group)
            for group in groups
            if _left(study, group)
        ]
        for group, outcome in self._done(study, orders):
            if outcome.error is None:
                _keep_units(study, group, outcome)
        orders = [({"kind": "units", "units": [plain_unit(unit)]}, [unit]) for unit in _left(study, units)]
        with progress_bar("folds", total=len(orders), unit="fold") as bar:
            for (unit,), outcome in self._done(study, orders):
                if outcome.error is None:
                    _keep_units(study, [unit], outcome)
                else:
                    _keep_failed(study, unit, outcome.error)
                bar.update()
        _check_alike(study, units)

    def finish(self, study: Study, config: RunConfig, results: Sequence[FoldResult]) -> str | None:
        """Make the final model on some machine, from the files of the folds."""
        order = {"kind": "final", "config": config.to_dict(), "files": _fold_files(study, config)}
        ((_, outcome),) = self._done(study, [(order, [])])
        if outcome.found is None or outcome.error:
            return outcome.error
        folder = study.runner.folder.path
        write_arrived(folder, outcome.found["files"])
        for place in {(folder / name).parent for name in outcome.found["gone"]}:
            shutil.rmtree(place, ignore_errors=True)
        failed: str | None = outcome.found["failed"]
        return failed

    def price(self, study: Study, units: Sequence[Unit]) -> str:
        """Predict the hours of all machines, from a few updates on one of them."""
        configs = list(dict.fromkeys(unit.config for unit in units))
        if not configs:
            return "All folds are there. Nothing is left to train but, perhaps, the final model."
        order = {"kind": "price", "configs": [config.to_dict() for config in configs]}
        ((_, outcome),) = self._done(study, [(order, [])])
        if outcome.found is None or outcome.error:
            raise ConfigError(f"The cost could not be predicted on a node: {outcome.error}")
        each = dict(zip(configs, outcome.found["seconds"], strict=True))
        final = study.experiment.config.final == "refit"
        seconds = sum_of_trainings(each, units, final=final)
        amount = self.carrier.gpus or torch.get_num_threads()
        hours, unit = seconds * amount / 3600, "GPU" if self.carrier.gpus else "processor"
        trainings = count(len(units), "training") + " and the final model" * final
        return (
            f"About {hours:.2g} {unit}-hours: {trainings} "
            f"on {amount:g} {unit}{'s' * (amount != 1)} each, {duration(seconds)} one after another. The "
            f"longest takes {duration(max(each.values()))}, and all together take no less."
        )

    def fill(self, wanted: Iterable[StoredFeatures]) -> None:
        """Have features computed on machines, and put them where they are looked for here."""
        fill(self.carrier, wanted)

    def _done(
        self, study: Study, orders: Sequence[tuple[Plain, Sequence[Unit]]]
    ) -> Iterator[tuple[Sequence[Unit], Outcome]]:
        """Hand some orders over, never too many at once; yield each with what came of it."""
        if not orders:
            return
        about, bulk = self._stored(study)
        pieces = (Piece(order, about, bulk, units) for order, units in orders)
        yield from done(self.carrier, pieces, ahead=_AHEAD)

    def _stored(self, study: Study) -> tuple[Any, Any]:
        """What stands for an experiment's plain data, which are put once."""
        experiment = study.experiment
        key = bulk_key(experiment)
        parcel: Parcel = pack(experiment, {} if key in self._bulk else None)
        if key not in self._bulk:
            self._bulk[key] = self.carrier.put(parcel.bulk)
        if parcel.about["key"] not in self._about:
            self._about[parcel.about["key"]] = self.carrier.put(parcel.about)
        return self._about[parcel.about["key"]], self._bulk[key]


def _may_be_together(group: Sequence[Unit]) -> bool:
    """Whether heads could be trained together: not where all layers learn."""
    return group[0].config.trainable != "all" and not group[0].config.from_scratch


def _left(study: Study, units: Sequence[Unit]) -> list[Unit]:
    return [unit for unit in units if study.runner.finished(unit) is None]


def _keep_units(study: Study, units: Sequence[Unit], outcome: Outcome) -> None:
    """Write what came back of some folds, but for those that are finished already."""
    files: Mapping[str, bytes] = outcome.found["files"] if outcome.found else {}
    for unit in units:
        if study.runner.finished(unit) is not None:
            continue
        for place in places_of(unit.place, unit.config):
            own = {name: content for name, content in files.items() if name.startswith(f"folds/{place}/")}
            write_arrived(study.runner.folder.path, own)
        if own:
            study.runner.say(unit, study.runner.result(unit))
    rest = {name: content for name, content in files.items() if not name.startswith("folds/")}
    if rest:
        write_arrived(study.runner.folder.path, rest)


def _keep_failed(study: Study, unit: Unit, error: str) -> None:
    """Record that a fold failed, as a training here does."""
    result = replace(study.runner.scorer.unscored(unit), status="failed", error=error)
    study.runner.folder.keep(unit.place, result, study.experiment.identity(unit.config), [], None)
    study.runner.say(unit, result)


def _fold_files(study: Study, config: RunConfig) -> dict[str, bytes]:
    """The files of a configuration's folds, by their paths in the run's folder."""
    root = study.runner.folder.path
    folders = [study.runner.folder.unit(unit.place) for unit in study.experiment.units_of(config)]
    paths = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}


def _check_alike(study: Study, units: Sequence[Unit]) -> None:
    """Refuse folds of nodes whose bits differ, unless they are allowed.

    Raises:
        ConfigError: Naming what the folds were trained on.
    """
    results = [study.runner.result(unit) for unit in units]
    seen = {result.environment.arithmetic for result in results if result.environment is not None}
    if len(seen) > 1 and not study.experiment.config.mixed_environments:
        kinds = "; ".join(sorted(f"{count(threads, 'thread')} on {device}" for threads, device in seen))
        raise ConfigError(
            f"The folds were trained on different machines ({kinds}), which gives other bits for the same "
            "fold. Let the engine see nodes of one kind, or pass --mixed_environments, and the card says it."
        )
