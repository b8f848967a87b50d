"""What a few labelled rows a class are worth, with a base model's frozen features: many draws at once."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hf_transfer import __version__, _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.errors import ConfigError, DataError
from hf_transfer.folds import derive_seed
from hf_transfer.machine.environment import versions
from hf_transfer.machine.files import make_folder, write_json
from hf_transfer.machine.wording import count
from hf_transfer.replay.features.engine import FeatureEngine
from hf_transfer.runs.rank_record import RankedData
from hf_transfer.runs.schema import to_json
from hf_transfer.runs.shots_record import SHOTS_FILE, Episodes, ShotScore, ShotsRecord
from hf_transfer.scores.draws import Pool
from hf_transfer.scores.few_rows import SOLVERS
from hf_transfer.scores.transferability import is_classes
from hf_transfer.selection.rank.ranking import shown_names
from hf_transfer.training.workers import make_accelerator
from hf_transfer.transfer.contrastive import SetFit, require_setfit
from hf_transfer.transfer.features import DomainFeatures, labelled_features

USUAL_SHOTS = (1, 2, 4, 8, 16)
USUAL_SOLVER = "logistic"  # of the three it lost least, on pictures and on texts

_USUAL_WAY, _ASKED = 5, 15  # classes of an episode, and rows of each that are asked: as papers have it
_NORMAL = 1.96


@dataclass(frozen=True)
class ShotOptions:
    """How many rows a class to draw, how often, and what to solve.

    Attributes:
        shots: Rows of each class.
        num_draws: Of each size.
        solver: `auto`, or one of those for few rows.
        num_episodes: Of each size; 0 for none.
        way: Classes of an episode; 5 when not given, or all if there are fewer.
        setfit: Whether to train SetFit in some of the draws, as a comparison; of texts only.
        setfit_draws: In how many of each size, as each trains the encoder.

    Raises:
        ConfigError: If a number is too small, or there is no such solver.
    """

    shots: Sequence[int] = USUAL_SHOTS
    num_draws: int = 200
    solver: str = "auto"
    num_episodes: int = 600
    way: int | None = None
    setfit: bool = False
    setfit_draws: int = 5

    def __post_init__(self) -> None:
        if not self.shots or min(self.shots) < 1:
            raise ConfigError(f"shots={list(self.shots)} must be numbers from 1, such as 1,2,4,8,16.")
        for name, least in (("num_draws", 2), ("num_episodes", 0), ("way", 2), ("setfit_draws", 2)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"{name}={value} is too small; use {least} or more.")
        if self.solver not in ("auto", *SOLVERS):
            raise ConfigError(f"solver={self.solver!r} is not one of auto, {', '.join(SOLVERS)}.")

    @property
    def solved_by(self) -> str:
        """The solver of the scores."""
        return USUAL_SOLVER if self.solver == "auto" else self.solver


def shots(dataset: str | Path, base_model: str, *, kind: str | None = None, **settings: Any) -> ShotsRecord:
    """Show what a few labelled rows a class score with frozen features, and how far one draw of them is off.

    Args:
        dataset: What `--dataset` takes; it needs labels, most of which are only asked.
        base_model: What `--base_model` takes.
        kind: What a row's input is; found by itself when not given.
        settings: Those of `ShotOptions`, and a run's, such as `max_rows` and `output_dir`, where shots.json
            goes.

    Raises:
        TransferError: As `score_shots` does.
    """
    own = {name: settings.pop(name) for name in list(settings) if name in ShotOptions.__dataclass_fields__}
    given = {"dataset": str(dataset), "base_model": base_model} | settings
    config = RunConfig(output_dir="runs/shots").changed(given)
    return run_shots(config, ShotOptions(**own), kind=kind)


def run_shots(
    config: RunConfig,
    options: ShotOptions,
    *,
    kind: str | None = None,
    engine: FeatureEngine | None = None,
) -> ShotsRecord:
    """The same from settings that are read already; an engine computes features elsewhere."""
    folder = Path(config.output_dir)
    make_folder(folder)
    return _written(score_shots(config, options, kind=kind, engine=engine), folder)


def score_shots(
    config: RunConfig,
    options: ShotOptions,
    *,
    kind: str | None = None,
    engine: FeatureEngine | None = None,
) -> ShotsRecord:
    """Score heads that learn from a few rows a class, in many draws, on all other rows.

    The features are computed once and stored, so that a second call takes seconds.

    Args:
        config: The data set, the base model and the seed.
        options: What to draw.
        kind: What a row's input is; found by itself when not given.
        engine: Computes features elsewhere; None computes them here.

    Raises:
        ConfigError: If no base model is given, or SetFit is asked for and not installed, or with an engine.
        DataError: If rows have not one class each, no size leaves a row of each class to ask, or SetFit is
            asked for and they are not texts.
    """
    began = time.monotonic()
    _check_wanted(config, options, engine)
    accelerator = make_accelerator(config)
    found = labelled_features(config, accelerator, kind=kind, engine=engine)
    setfit = SetFit(found.data, found.task, accelerator.device) if options.setfit else None
    pool = _pool(found)
    sizes, notes = _possible(options, pool, found.label_names)
    drawn = pool.draws(max(sizes), options.num_draws, derive_seed(config.seed, "draws"))
    scored = [_size(pool, size, drawn[:, :, :size], options, config.seed) for size in sizes]
    return ShotsRecord(
        kit_version=__version__,
        dataset=_described(found),
        base_model=shown_names([config.base_model])[config.base_model],
        measure=pool.measure.name,
        solver=options.solved_by,
        num_draws=options.num_draws,
        seed=config.seed,
        sizes=scored,
        constant=pool.measure.constant(pool.labels),
        notes=[*found.notes, *notes],
        versions=versions(),
        features_seconds=found.seconds,
        features_reused=found.reused,
        setfit=setfit.compared(pool, scored, drawn[: options.setfit_draws], config.seed) if setfit else [],
        seconds=time.monotonic() - began,
    )


def _check_wanted(config: RunConfig, options: ShotOptions, engine: FeatureEngine | None) -> None:
    """Stop where there is no base model, or SetFit is wanted and cannot be trained."""
    if not config.base_model:
        raise ConfigError("shots needs a base model, whose frozen features it reads. Add --base_model.")
    if options.setfit and engine is not None:
        raise ConfigError(
            f"--setfit trains in this process, and engine={config.engine!r} computes features alone. Leave "
            "one of them out."
        )
    if options.setfit:
        require_setfit()


def _written(record: ShotsRecord, folder: Path) -> ShotsRecord:
    """Write shots.json and shots.png into a folder, and a run's card there again; gives the record back."""
    from hf_transfer.report.card.card import update_card
    from hf_transfer.report.plots.scores import save
    from hf_transfer.report.plots.shots import shots_plot

    write_json(folder / SHOTS_FILE, to_json(record))
    save(shots_plot(record), folder / "shots.png")
    update_card(folder)
    return record


def _pool(found: DomainFeatures) -> Pool:
    labels = found.labels
    if labels is None or not is_classes(labels):
        raise DataError(
            f"{found.data.name} has {found.data.target.name} as labels, and rows are drawn class by class. "
            "Give rows of one class each."
        )
    units = np.arange(len(labels)) if found.groups is None else found.groups
    return Pool(found.values.astype(np.float64), labels, units, found.data.target.measure(labels))


def _possible(options: ShotOptions, pool: Pool, names: Sequence[str]) -> tuple[list[int], list[str]]:
    """The sizes that leave a row of each class to ask, and notes on others and on those that leave few."""
    counts = np.bincount(pool.labels, minlength=pool.num_classes)
    rarest = int(counts.argmin())
    few = f"class {names[rarest]!r} has {count(int(counts[rarest]), 'row')}"
    sizes = sorted({size for size in options.shots if size < counts[rarest]})
    if not sizes:
        raise DataError(
            f"{few}, and {min(options.shots)} of each class are to be drawn with others left to ask. Give "
            "more rows, or fewer --shots."
        )
    left = sorted({*options.shots} - {*sizes})
    notes = [f"No draws of {', '.join(map(str, left))} rows a class: {few}."] if left else []
    wide = [size for size in sizes if 2 * size * pool.num_classes > len(pool.labels)]
    if wide:
        notes.append(
            f"From {wide[0]} rows a class on, less than half of the rows are left to ask, which widens the "
            "spread of one draw."
        )
    return sizes, notes


def _size(pool: Pool, size: int, drawn: Any, options: ShotOptions, seed: int) -> ShotScore:
    own = derive_seed(seed, "bootstrap")
    by_solver = {name: pool.score(name, drawn, seed=own) for name in SOLVERS}
    found = by_solver[options.solved_by]
    return ShotScore(
        shots=size,
        mean=found.mean,
        interval=found.interval,
        std=found.std,
        one_draw=found.one_draw,
        solvers={name: one.mean for name, one in by_solver.items()},
        episodes=_episodes(pool, size, options, seed),
        draws=found.draws.tolist(),
    )


def _episodes(pool: Pool, size: int, options: ShotOptions, seed: int) -> Episodes | None:
    fewest = int(np.bincount(pool.labels, minlength=pool.num_classes).min())
    asked = min(_ASKED, fewest - size)
    if not options.num_episodes or asked < 1:
        return None
    way = min(options.way or _USUAL_WAY, pool.num_classes)
    found = pool.episodes(
        options.solved_by, size, way, options.num_episodes, asked, seed=derive_seed(seed, "episodes")
    )
    std = float(found.std(ddof=1)) if len(found) > 1 else 0.0
    error = _NORMAL * std / np.sqrt(len(found))
    return Episodes(way, size, asked, len(found), float(found.mean()), float(error), std)


def _described(found: DomainFeatures) -> RankedData:
    return RankedData(
        name=found.data.name,
        split=found.data.split,
        fingerprint=found.data.fingerprint,
        num_rows=len(found),
        num_scored=len(found),
        kind=found.data.input.name,
        label_names=list(found.label_names),
    )
