"""What does not go together is told by a first batch; what does is read as the model means it."""

import io

import pytest
import torch
import transformers as hf
from datasets import Dataset
from PIL import Image

from hf_transfer import RunConfig
from hf_transfer.errors import ModelError
from hf_transfer.models.notes import language_note
from hf_transfer.study.first_batch import check_first_batch, first_batch
from hf_transfer.tasks import ImageClassification, SequenceClassification

CPU = torch.device("cpu")
VIT = {
    "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
    "image_size": 32, "patch_size": 16,
}  # fmt: skip


def picture_task(folder, model, processor):
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return ImageClassification(RunConfig(base_model=str(folder)), ("a", "b"))


PICTURE = Image.new("RGB", (40, 30), (200, 90, 10))


def pictures():
    stream = io.BytesIO()
    PICTURE.save(stream, "PNG")
    return Dataset.from_dict({"input": [{"bytes": stream.getvalue(), "path": None}], "label": [0]})


def processor_of(kind, size, **options):
    return kind(size={"height": size, "width": size}, **options)


def test_a_processor_of_another_size_is_told_before_training(tmp_path):
    model = hf.ViTForImageClassification(hf.ViTConfig(**VIT))
    task = picture_task(tmp_path, model, processor_of(hf.ViTImageProcessor, 48))
    batch = first_batch(task, pictures())
    words = (
        r"cannot read a first batch of this data: Input image size \(48\*48\).*one model, and for pictures"
    )
    with pytest.raises(ModelError, match=words):
        check_first_batch(task, task.build_model(), batch, CPU)


def test_a_model_of_one_channel_gets_grey_pictures(tmp_path):
    model = hf.ViTForImageClassification(hf.ViTConfig(num_channels=1, **VIT))
    processor = processor_of(hf.ViTImageProcessor, 32, image_mean=[0.5], image_std=[0.5])
    task = picture_task(tmp_path, model, processor)
    batch = first_batch(task, pictures())
    assert batch["pixel_values"].shape == (1, 1, 32, 32)
    check_first_batch(task, task.build_model(), batch, CPU)


def test_efficientnets_processor_normalises_once_more_where_it_would(tmp_path):
    config = hf.EfficientNetConfig(
        image_size=32, width_coefficient=0.1, depth_coefficient=0.2, hidden_dim=128
    )
    processor = processor_of(hf.EfficientNetImageProcessor, 32)
    task = picture_task(tmp_path, hf.EfficientNetForImageClassification(config), processor)
    batch = first_batch(task, pictures())
    check_first_batch(task, task.build_model(), batch, CPU)
    published = hf.AutoImageProcessor.from_pretrained(tmp_path)(PICTURE, return_tensors="pt")
    # Rounded to bytes in between, and divided by a deviation twice.
    assert torch.allclose(batch["pixel_values"], published["pixel_values"], atol=0.05)


def task_of_xmod(folder, tokenizer, **values):
    hf.AutoTokenizer.from_pretrained(tokenizer).save_pretrained(folder)
    config = hf.XmodConfig(
        vocab_size=30_522, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        **values,
    )  # fmt: skip
    hf.XmodModel(config).save_pretrained(folder)
    return SequenceClassification(RunConfig(base_model=str(folder)), ("a", "b"))


ROWS = Dataset.from_dict({"input": ["short", "a much longer one"], "label": [0, 1]})


def test_a_model_that_cannot_read_a_batch_is_told(tiny_bert_folder, tmp_path):
    task = task_of_xmod(tmp_path, tiny_bert_folder, languages=["en_XX"], default_language="de_DE")
    batch = first_batch(task, ROWS)
    assert len(batch["input_ids"]) == 2
    with pytest.raises(ModelError, match=r"cannot read a first batch of this data: .*for texts"):
        check_first_batch(task, task.build_model(), batch, CPU)


@pytest.mark.parametrize(
    ("languages", "taken"), [(["de_DE", "en_XX"], "en_XX"), (["de_DE", "fr_XX"], "de_DE")]
)
def test_a_model_of_several_languages_gets_one_and_is_published_with_it(
    languages, taken, tiny_bert_folder, tmp_path
):
    task = task_of_xmod(tmp_path, tiny_bert_folder, languages=languages)
    model = task.build_model()
    check_first_batch(task, model, first_batch(task, ROWS), CPU)
    assert model.config.default_language == taken
    assert f"adapters of {taken}" in language_note(task.base)


def test_the_language_that_a_model_names_stays(tiny_bert_folder, tmp_path):
    task = task_of_xmod(tmp_path, tiny_bert_folder, languages=["en_XX", "de_DE"], default_language="de_DE")
    assert task.build_model().config.default_language == "de_DE"
    assert language_note(task.base) is None


def test_a_model_that_is_moved_to_another_device_can_still_learn(tmp_path):
    """As to each GPU, and to the processor under its other name, as several processes call it."""
    model = hf.ViTForImageClassification(hf.ViTConfig(**VIT))
    task = picture_task(tmp_path, model, processor_of(hf.ViTImageProcessor, 32))
    model = task.build_model()
    check_first_batch(task, model, first_batch(task, pictures()), torch.device("cpu", 0))
    assert not any(parameter.is_inference() for parameter in model.parameters())
    model.requires_grad_(requires_grad=True)
