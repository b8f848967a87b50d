"""Sentiment of reviews: BERT or RoBERTa under 5-fold cross-validation, to a model card.

    python recipes/sentiment.py --trainable last:4 --learning_rate 3e-5
    python recipes/sentiment.py --base_model builtin:tiny-bert --dataset builtin:reviews --lr 1e-3 --epochs 12
    accelerate launch --config_file accelerate_config.yaml recipes/sentiment.py --num_folds 10

The second line needs no network. All settings: --help.
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
    dataset="cornell-movie-review-data/rotten_tomatoes",
    target="classes",
    batch_size=32,
    output_dir="runs/sentiment",
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
