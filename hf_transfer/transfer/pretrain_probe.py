"""Did pretraining help? A linear model on frozen features, before and after, under the same folds."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from accelerate import Accelerator

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.data.labelled import LabelledData
from hf_transfer.runs.pretrain_record import LinearProbe, PretrainVerdict
from hf_transfer.selection.rank.benchmark import make_benchmark
from hf_transfer.selection.rank.candidate import judge
from hf_transfer.selection.rank.ranking import features_of
from hf_transfer.selection.rank.verdicts import compare_all


def probe_both(
    data: LabelledData, before: RunConfig, after: Path, accelerator: Accelerator, num_shared: int
) -> tuple[LinearProbe, PretrainVerdict]:
    """Compare linear probes of a base model and of what pretraining made of it, as `rank` does.

    Args:
        data: Labelled rows.
        before: Settings with the base model, and with the folds.
        after: The pretrained model's folder.
        accelerator: Where to run.
        num_shared: Rows that are in the pool too.
    """
    benchmark = make_benchmark(data, before)
    scores = []
    for config in (before, replace(before, base_model=str(after), revision=None, from_scratch=False)):
        task = benchmark.data.task(config, data.target)
        features = features_of(task, benchmark, accelerator)
        scores.append(judge(config.base_model, config.base_model, features, benchmark, control=True).score)
    first, second = (score.folds for score in scores)
    found = compare_all({"after": ("before", second, first)}, benchmark.num_folds)["after"]
    probe = LinearProbe(
        dataset=data.name,
        metric=benchmark.measure.name,
        num_rows=len(benchmark.labels),
        num_folds=benchmark.num_folds,
        before=first.tolist(),
        after=second.tolist(),
        difference=found.difference,
        interval=found.interval,
        p_better=_known(found.p_better),
        p_worse=_known(found.p_worse),
        num_shared=num_shared,
    )
    return probe, "no gain" if found.verdict == "can't tell" else found.verdict


def _known(p: float) -> float | None:
    return p if p == p else None


def shared_rows(digests: Sequence[str], labelled: Sequence[str]) -> int:
    """Number of labelled rows that are in the pool too."""
    seen = {*digests}
    return sum(one in seen for one in labelled)
