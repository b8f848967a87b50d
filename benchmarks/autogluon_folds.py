"""AutoGluon-MultiModal on given folds, in an environment of its own: nothing of the kit is imported.

    PYTHON benchmarks/autogluon_folds.py FOLDER

`rivals.py` starts it. FOLDER holds given.json; probabilities of the held-out rows are written to found.json.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from autogluon.multimodal import MultiModalPredictor

MODELS = {"image": "timm_image", "text": "hf_text"}


def main() -> None:
    folder = Path(sys.argv[1])
    given = json.loads((folder / "given.json").read_text(encoding="utf-8"))
    rows = pd.DataFrame(given["rows"], columns=[given["kind"], "label"])
    found = [
        one_fold(rows.iloc[train], rows.iloc[valid].drop(columns="label"), given, folder / f"fold{number}")
        for number, (train, valid) in enumerate(given["folds"])
    ]
    (folder / "found.json").write_text(json.dumps(found), encoding="utf-8")


def one_fold(train: pd.DataFrame, valid: pd.DataFrame, given: dict, path: Path) -> list[list[float]]:
    """Probabilities of the held-out rows, with all defaults but the checkpoint."""
    name = MODELS[given["kind"]]
    predictor = MultiModalPredictor(label="label", problem_type="multiclass", path=str(path))
    chosen = {"model.names": [name], f"model.{name}.checkpoint_name": given["model"]}
    predictor.fit(
        train,
        column_types={given["kind"]: "image_path" if given["kind"] == "image" else "text"},
        hyperparameters=chosen,
        seed=given["seed"],
    )
    found = np.zeros((len(valid), given["num_labels"]))  # a label that no training row has stays at 0
    for label, column in predictor.predict_proba(valid, as_pandas=True).items():
        found[:, int(label)] = column
    return found.tolist()


if __name__ == "__main__":
    main()
