"""What the output layer reads; that it is so is tested where data sets are compared."""

import pytest

from hf_transfer import RunConfig, open_dataset
from hf_transfer.errors import LayerSelectionError, ModelError
from hf_transfer.replay.encoding import encode_rows
from hf_transfer.replay.features import output_inputs as module
from hf_transfer.tasks import task_of_kind
from hf_transfer.training.workers import make_accelerator


def test_a_model_without_a_linear_output_layer_is_refused(monkeypatch):
    def refuse(*_, **__):
        raise LayerSelectionError("none")

    monkeypatch.setattr(module, "output_layer", refuse)
    config = RunConfig(dataset="builtin:digits_5to9", base_model="builtin:digits-resnet", max_rows=10)
    data, accelerator = open_dataset(config, "image"), make_accelerator(config)
    task = task_of_kind("image")(config, data.target)
    encoded = encode_rows(task, data.rows, data.fingerprint, accelerator)
    with pytest.raises(ModelError, match="has no linear output layer"):
        module.output_inputs(task, encoded, config, accelerator)
