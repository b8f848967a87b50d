"""A pretraining in words: the losses, the verdict of the probe, and the folder's README."""

import numpy as np

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.network import HUB_ID
from hf_transfer.machine.secrets import local_name
from hf_transfer.machine.wording import aligned, count, interval, number, probability
from hf_transfer.report.words.verdict import Verdict
from hf_transfer.runs.card_file import KIT, join_card
from hf_transfer.runs.pretrain_record import PRETRAIN_FILE, LinearProbe, PretrainRecord

_ANSWERS = {
    "better": "The probe is better than before.",
    "no gain": "The probe does not tell it from the base model: take the base model.",
    "worse": "The probe is worse than before: take the base model.",
    "not probed": "Nothing was judged. --probe DATASET compares a linear model on its features with one on "
    "the base model's.",
}


def pretrain_text(record: PretrainRecord) -> str:
    """Write what was learned from, the losses, and the verdict."""
    pool, verdict = record.pool, pretrain_verdict(record)
    start = "random weights" if record.from_scratch else "its weights"
    lines = [["epoch", "train loss", "held-out loss", "spread"]]
    lines += [
        [str(one.epoch), *map(number, (one.train_loss, one.held_out_loss, one.feature_spread))]
        for one in record.losses
    ]
    if record.losses[0].feature_spread is None:
        lines = [line[:-1] for line in lines]
    parts = [
        f"{local_name(record.base_model)}, from {start}, by {record.objective} on {pool.name} "
        f"({count(pool.num_rows, 'row')}, {pool.num_held_out:,} of them held out)",
        aligned(lines),
        f"{verdict.question} {verdict.answer.capitalize()}. {verdict.words}",
    ]
    if record.notes:
        parts.append("\n".join(["Notes", *(f"  {note}" for note in record.notes)]))
    return "\n\n".join(parts)


def pretrain_verdict(record: PretrainRecord) -> Verdict:
    """Answer whether pretraining helped, with what the answer rests on."""
    words = [_ANSWERS[record.verdict], *([_probe_words(record.probe)] if record.probe else [])]
    return Verdict("pretrained", "Did pretraining help?", record.verdict, " ".join(words))


def _probe_words(probe: LinearProbe) -> str:
    p_of_side = probe.p_better if probe.difference > 0 else probe.p_worse
    p = [] if p_of_side is None else [f"p {probability(p_of_side)}"]
    before, after = (number(float(np.mean(scores))) for scores in (probe.before, probe.after))
    ends = ", ".join([interval(probe.interval), *p])
    return (
        f"{probe.metric.capitalize()} on {probe.dataset} ({count(probe.num_rows, 'row')}): {before} before, "
        f"{after} after; difference {probe.difference:+.3f} ({ends}), over "
        f"{len(probe.before)} folds that are the same for both. p is one-sided, by the corrected resampled "
        "t-test."
    )


def readme_text(record: PretrainRecord) -> str:
    """The folder's README: what the model is, and how to use it."""
    header = {
        "base_model": record.base_model if HUB_ID.fullmatch(record.base_model) else None,
        "tags": [KIT, "self-supervised"],
    }
    body = f"""
# {local_name(record.base_model)}, pretrained on {record.pool.name}

A base model for a run, by `--base_model` and this folder. It has learned from rows without labels.

```
{pretrain_text(record)}
```

`{PRETRAIN_FILE}` has all figures, and a digest of each row of the pool: a run refuses rows that are among
those. By the digests anybody who has a row can tell whether it was in the pool.
"""
    return join_card({key: value for key, value in header.items() if value}, body)
