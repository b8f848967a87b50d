"""Named entities in tweets and posts: a tagger scored by whole entities under 5-fold cross-validation.

    python recipes/ner.py --base_model FacebookAI/roberta-base --trainable all
    python recipes/ner.py --base_model builtin:tiny-bert --dataset builtin:mentions
    accelerate launch --config_file accelerate_config.yaml recipes/ner.py
"""

from hf_transfer import RunConfig, TokenClassification, cross_validate, open_dataset, preflight, publish, run_recipe

DEFAULTS = RunConfig(
    base_model="google-bert/bert-base-cased",
    dataset="tner/wnut2017",
    learning_rate=5e-5,
    num_epochs=5,
    batch_size=16,
    output_dir="runs/ner",
)


def main(argv=None):
    config = RunConfig.from_args(DEFAULTS, argv, description=__doc__)
    preflight(config)  # before hours of training: may we write there?
    data = open_dataset(config, TokenClassification.kind)
    task = TokenClassification(config, data.label_names)
    result = cross_validate(task, data, config)
    publish(result, config)
    return result


if __name__ == "__main__":
    run_recipe(main)
