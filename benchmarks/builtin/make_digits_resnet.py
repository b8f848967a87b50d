"""Make `builtin:digits-resnet`: timm's smallest ResNet, trained on handwritten digits 0 to 4 only.

    python benchmarks/builtin/make_digits_resnet.py

It has never seen a 5, 6, 7, 8 or 9: those are what the demo transfers it to.
"""

import shutil
import tempfile
from pathlib import Path

import timm
from transformers.models.timm_wrapper.configuration_timm_wrapper import TimmWrapperConfig

from hf_transfer import ImageClassification, RunConfig, cross_validate, open_dataset
from hf_transfer.data import builtin

HERE = Path(builtin.__file__).parent
PICTURES = {
    "input_size": [3, 32, 32],
    "crop_pct": 1.0,
    "crop_mode": "center",
    "interpolation": "bilinear",
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
    "license": "apache-2.0",
}


def main() -> None:
    """Train on all rows of digits 0 to 4, and put the weights beside this file."""
    with tempfile.TemporaryDirectory() as folder:
        start = Path(folder) / "start"
        names = timm.create_model("test_resnet").pretrained_cfg
        parts = {name: names[name] for name in ("first_conv", "classifier", "pool_size")}
        values = {
            "architecture": "test_resnet",
            "num_classes": 0,
            "pretrained_cfg": {**PICTURES, **parts},
            "model_args": {},
        }
        TimmWrapperConfig.from_dict(values, num_labels=1).save_pretrained(start)
        config = RunConfig(
            base_model=str(start),
            dataset="builtin:digits_0to4",
            from_scratch=True,
            learning_rate=3e-3,
            weight_decay=0.05,
            num_epochs=30,
            batch_size=32,
            augmentation="crop",
            num_folds=5,
            output_dir=f"{folder}/run",
        )
        data = open_dataset(config, ImageClassification)
        result = cross_validate(ImageClassification(config, data.label_names), data, config)
        print(result.summary())
        target = HERE / "digits-resnet"
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(f"{folder}/run/model", target)


if __name__ == "__main__":
    main()
