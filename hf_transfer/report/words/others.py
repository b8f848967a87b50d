"""Other runs on the same folds, as compare.json records them for a run's card."""

from collections.abc import Sequence

from hf_transfer import __version__, _guard  # noqa: F401
from hf_transfer.report.words.pairs import sentence
from hf_transfer.runs.companions import ComparedRuns, Other, ToldOther, primary_scores
from hf_transfer.runs.paired import Pair
from hf_transfer.runs.records import Results

# What the answer to "is the pretrained model a good start?" must leave the same in both runs.
SAME_BUDGET = (
    "base_model", "trainable", "num_epochs", "learning_rate", "weight_decay", "batch_size", "optimizer",
    "layer_decay", "schedule", "augmentation", "early_stopping", "head_solver",
)  # fmt: skip


def other_run(results: Results, pair: Pair) -> Other:
    """Reduce another run's results to what a card shows of them."""
    settings = {name: getattr(results.config, name) for name in SAME_BUDGET}
    return Other(pair.first, results.from_scratch, settings, pair)


def compared_runs(results: Results, others: Sequence[Other]) -> ComparedRuns:
    """Give the content of compare.json, beside the results that it is about.

    Args:
        results: What results.json holds.
        others: The runs that this one was compared with.
    """
    return ComparedRuns(
        kit_version=__version__,
        folds_fingerprint=results.folds_fingerprint,
        metric=results.primary_metric,
        scores=primary_scores(results),
        others=[
            ToldOther(**vars(other), verdict=other.pair.verdict, sentence=sentence(other.pair))
            for other in others
        ],
    )
