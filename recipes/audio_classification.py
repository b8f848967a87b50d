"""Sounds into classes, sets of labels or a number: wav2vec2, HuBERT or AST under 5-fold cross-validation.

    python recipes/audio_classification.py --base_model facebook/wav2vec2-base --trainable last:4
    python recipes/audio_classification.py --base_model builtin:tiny-wav2vec2 --dataset builtin:tones
    accelerate launch --config_file accelerate_config.yaml recipes/audio_classification.py --num_folds 10

The second line needs no network. A column `speaker` keeps what one person said in one fold. What is learned
follows from the labels: lists are sets of labels, numbers with fractions numbers. All settings: --help.
"""

from hf_transfer import (
    AudioClassification,
    CrossValidationResult,
    RunConfig,
    fine_tune,
    open_dataset,
    preflight,
    publish,
    run_recipe,
)

DEFAULTS = RunConfig(
    base_model="facebook/wav2vec2-base",
    dataset="ashraq/esc50",
    batch_size=16,
    output_dir="runs/audio_classification",
)


def main(argv: list[str] | None = None) -> CrossValidationResult:
    """From the command line to the card."""
    config = RunConfig.from_args(DEFAULTS, argv, description=__doc__)
    preflight(config)  # before hours of training: may we write what we are going to write?
    data = open_dataset(config, AudioClassification)
    task = AudioClassification(config, data.target)
    result = fine_tune(task, data, config)
    publish(config)
    return result


if __name__ == "__main__":
    run_recipe(main)
