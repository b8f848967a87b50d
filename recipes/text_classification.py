"""Texts, or pairs of them, into classes, sets of labels or a number, under 5-fold cross-validation.

    python recipes/text_classification.py --dataset reviews.csv --label_column stars --target numbers
    python recipes/text_classification.py --dataset questions.jsonl --trainable last:4
    python recipes/text_classification.py --base_model builtin:tiny-bert --dataset builtin:reviews
    accelerate launch --config_file accelerate_config.yaml recipes/text_classification.py --num_folds 10

Lists of labels are sets (any number a row), numbers with fractions are learned as numbers; two columns such
as premise and hypothesis are pairs. The third line needs no network. All settings: --help.
"""

from hf_transfer import (
    CrossValidationResult,
    RunConfig,
    SequenceClassification,
    fine_tune,
    open_dataset,
    preflight,
    publish,
    run_recipe,
)

DEFAULTS = RunConfig(
    base_model="FacebookAI/roberta-base",
    dataset="dair-ai/emotion",
    batch_size=32,
    output_dir="runs/text_classification",
)


def main(argv: list[str] | None = None) -> CrossValidationResult:
    """From the command line to the card."""
    config = RunConfig.from_args(DEFAULTS, argv, description=__doc__)
    preflight(config)  # before hours of training: may we write what we are going to write?
    data = open_dataset(config, SequenceClassification)
    task = data.task(config, data.target)
    result = fine_tune(task, data, config)
    publish(config)
    return result


if __name__ == "__main__":
    run_recipe(main)
