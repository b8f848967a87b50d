"""Pictures with a text into classes, sets of labels or a number, under 5-fold cross-validation.

    python recipes/image_text_classification.py --dataset products.csv --input_column photo,title
    python recipes/image_text_classification.py --dataset products.csv --table_columns price,colour
    python recipes/image_text_classification.py --base_model builtin:tiny-clip --dataset builtin:digit_texts
    accelerate launch --config_file accelerate_config.yaml recipes/image_text_classification.py --num_folds 10

Paths of pictures are relative to the file. The summary says what the picture, the text and the table alone
reach under the same folds. The third line needs no network. All settings: --help.
"""

from hf_transfer import (
    CrossValidationResult,
    ImageTextClassification,
    RunConfig,
    fine_tune,
    open_dataset,
    preflight,
    publish,
    run_recipe,
)

DEFAULTS = RunConfig(
    base_model="openai/clip-vit-base-patch32",
    dataset="products.csv",
    trainable="head",
    batch_size=32,
    output_dir="runs/image_text_classification",
)


def main(argv: list[str] | None = None) -> CrossValidationResult:
    """From the command line to the card."""
    config = RunConfig.from_args(DEFAULTS, argv, description=__doc__)
    preflight(config)  # before hours of training: may we write what we are going to write?
    data = open_dataset(config, ImageTextClassification)
    task = data.task(config, data.target)
    result = fine_tune(task, data, config)
    publish(config)
    return result


if __name__ == "__main__":
    run_recipe(main)
