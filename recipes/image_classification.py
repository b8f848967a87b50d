"""Pictures into classes, sets of labels or a number: timm, ViT or ResNet under 5-fold cross-validation.

    python recipes/image_classification.py --base_model timm/resnet50.a1_in1k --trainable last:4
    python recipes/image_classification.py --base_model builtin:digits-resnet --dataset builtin:digits_5to9
    accelerate launch --config_file accelerate_config.yaml recipes/image_classification.py --num_folds 10

The second line needs no network. What is learned follows from the labels: lists are sets of labels, numbers
with fractions numbers. All settings: --help.
"""

from hf_transfer import (
    CrossValidationResult,
    ImageClassification,
    RunConfig,
    fine_tune,
    open_dataset,
    preflight,
    publish,
    run_recipe,
)

DEFAULTS = RunConfig(
    base_model="google/vit-base-patch16-224-in21k",
    dataset="AI-Lab-Makerere/beans",
    batch_size=32,
    output_dir="runs/image_classification",
)


def main(argv: list[str] | None = None) -> CrossValidationResult:
    """From the command line to the card."""
    config = RunConfig.from_args(DEFAULTS, argv, description=__doc__)
    preflight(config)  # before hours of training: may we write what we are going to write?
    data = open_dataset(config, ImageClassification)
    task = ImageClassification(config, data.target)
    result = fine_tune(task, data, config)
    publish(config)
    return result


if __name__ == "__main__":
    run_recipe(main)
