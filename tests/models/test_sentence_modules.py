import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_transfer.models.sentence_modules import HEAD_FOLDER, SentenceModules, read_modules, write_modules

PLAIN = [
    {"type": "sentence_transformers.models.Transformer", "path": ""},
    {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"},
]
MEAN = {"pooling_mode": "mean"}


def layout(folder, modules, **configs):
    """What finds the files of a folder with these modules, by what their own folders hold."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "modules.json").write_text(modules if isinstance(modules, str) else json.dumps(modules))
    for name, config in configs.items():
        (folder / name[1:]).mkdir(exist_ok=True)
        (folder / name[1:] / "config.json").write_text(json.dumps(config))
    return finds(folder)


def finds(folder):
    return lambda name: path if (path := folder / name).is_file() else None


@pytest.mark.parametrize(
    ("config", "pooling"),
    [
        (MEAN, "mean"),
        ({"pooling_mode": ["mean"]}, "mean"),
        ({"pooling_mode": "cls"}, "cls"),
        ({"pooling_mode": "lasttoken"}, "lasttoken"),
        ({"pooling_mode": ["cls", "mean"]}, None),
        ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}, "mean"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}, None),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_weightedmean_tokens": True}, None),
        ({}, None),
    ],
)
def test_old_and_new_keys_say_the_same(tmp_path, config, pooling):
    assert read_modules(layout(tmp_path, PLAIN, _1_Pooling=config)) == SentenceModules(pooling)


@pytest.mark.parametrize(
    "kinds", [[], ["Transformer"], ["StaticEmbedding"], ["Router", "Pooling"], ["Transformer", "WordWeights"]]
)
def test_other_modules_say_nothing(tmp_path, kinds):
    modules = [{"type": f"sentence_transformers.models.{kind}", "path": "1_Pooling"} for kind in kinds]
    assert read_modules(layout(tmp_path, modules, _1_Pooling=MEAN)) == SentenceModules()


def test_a_checkpoint_without_modules_says_nothing(tmp_path):
    assert read_modules(finds(tmp_path)) == SentenceModules()


@given(width=st.integers(1, 2000), num_labels=st.integers(1, 2000))
def test_what_is_written_is_read(tmp_path_factory, width, num_labels):
    folder = tmp_path_factory.mktemp("model")
    write_modules(folder, width=width, num_labels=num_labels)
    assert read_modules(finds(folder)) == SentenceModules("mean")  # its weights are not there yet
    (folder / HEAD_FOLDER / "model.safetensors").touch()
    assert read_modules(finds(folder)).head == folder / HEAD_FOLDER / "model.safetensors"


@pytest.mark.parametrize(
    "dense", [{"activation_function": "torch.nn.modules.activation.Tanh"}, {"bias": False}]
)
def test_a_layer_that_is_no_plain_linear_one_is_no_head(tmp_path, dense):
    write_modules(tmp_path, width=8, num_labels=2)
    (tmp_path / HEAD_FOLDER / "model.safetensors").touch()
    config = json.loads((tmp_path / HEAD_FOLDER / "config.json").read_text())
    (tmp_path / HEAD_FOLDER / "config.json").write_text(json.dumps(config | dense))
    assert read_modules(finds(tmp_path)) == SentenceModules("mean")


@pytest.mark.parametrize(
    ("modules", "words"),
    [
        ("{", "modules.json is not readable as JSON"),
        ("[3]", "is not of that layout"),
        ('{"type": 3}', "is not of that layout"),
        (
            [PLAIN[0], PLAIN[1] | {"path": "../other"}],
            "names the folder '../other', which is none of the model's",
        ),
        ([PLAIN[0], {"type": "x.Pooling"}], "is not of that layout"),
    ],
)
def test_damage_is_told(tmp_path, modules, words):
    with pytest.raises(ValueError, match=words):
        read_modules(layout(tmp_path, modules, _1_Pooling=MEAN))
