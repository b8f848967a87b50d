"""Make the model that came out of a combination: one plain model, or several that answer together."""

from dataclasses import replace
from pathlib import Path

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.data.opening import open_dataset
from hf_transfer.errors import ConfigError
from hf_transfer.machine.files import write_json
from hf_transfer.report.card.card import write_card
from hf_transfer.runs.combine_record import COMBINE_FILE, CombineRecord, joined_members, member_run
from hf_transfer.runs.schema import to_json
from hf_transfer.selection.presets import fine_tune
from hf_transfer.study.engine import Engine
from hf_transfer.tasks import task_of_kind


def publish_combination(
    config: RunConfig, record: CombineRecord, *, judge_only: bool, engine: Engine | None = None
) -> CombineRecord:
    """Make the runs of the members to publish, and write combine.json; gives the record back.

    One member is an ordinary run in the folder itself. Of several, each is one in a folder below, and
    combine.json says how `predict` weighs them. An engine trains them elsewhere.

    Raises:
        ConfigError: If several are to stand where one model's run is, which `predict` would go on to read; or
            if weights would be written over those of models that are there.
    """
    folder = Path(config.output_dir)
    if judge_only and joined_members(folder):
        raise ConfigError(
            f"{folder} holds models that answer together by the weights in its {COMBINE_FILE}, which "
            "judge_only would write over. Give another --output_dir."
        )
    if record.joined and not judge_only and (folder / "results.json").is_file():
        raise ConfigError(
            f"{folder} holds the run of one model, and several are to be published together. Give another "
            "--output_dir."
        )
    if not judge_only:
        (folder / COMBINE_FILE).unlink(missing_ok=True)  # its weights are not those of the members to come
    for place, member in enumerate(record.members):
        if not judge_only and record.final_weights[place] > 0:
            run = folder / member_run(place) if record.joined else folder
            repeats = record.folds.num_repeats  # the folds that it was judged under
            own = replace(config, base_model=member.base_model, output_dir=str(run), num_repeats=repeats)
            _run(own, record, engine)
            if record.joined:
                write_card(run)  # without one it can't be pushed
    write_json(folder / COMBINE_FILE, to_json(record))
    if not judge_only and not record.joined:
        write_card(folder)  # which tells of the combination too
    return record


def _run(config: RunConfig, record: CombineRecord, engine: Engine | None) -> None:
    task = task_of_kind(record.dataset.kind)
    data = open_dataset(config, task.input.name)
    fine_tune(data.task(config, data.target), data, config, engine)
