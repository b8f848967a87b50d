"""The kit's classifier of sounds gives what transformers' own gives, before and after it is saved."""

import pytest
import torch
import transformers as hf
from packaging import version
from sound_models import MASKED, WAVES, noise
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING_NAMES as NAMES

from hf_transfer.models.sound_classifier import SoundClassifier
from hf_transfer.tasks.inputs.sound_processor import _MASK_HIDES

NEAR = 1e-7
OWN_FILTERS = {"sew", "sew-d"}
NOT_BY_MEAN = {"audio-spectrogram-transformer", "wav2vec2-bert", "whisper"}
FAMILIES = sorted(set(NAMES) - NOT_BY_MEAN)


def config_of(family, **changes):
    own = {name: value for name, value in WAVES.items() if not name.startswith(("conv_", "num_feat"))}
    return CONFIG_MAPPING[family](**(own if family in OWN_FILTERS else WAVES), num_labels=3, **changes)


def batch():
    values = torch.from_numpy(noise(1.0)).reshape(2, -1)
    mask = torch.ones(2, 8000, dtype=torch.long)
    mask[1, 5000:] = 0
    values[1, 5000:] = 0
    return values, mask


@pytest.mark.parametrize("family", FAMILIES)
def test_it_gives_what_a_projector_the_mean_and_a_layer_give(family):
    if family == "sew-d" and version.parse(hf.__version__) < version.parse("5.24"):
        pytest.skip("plain transformers does not find its own encoder")
    model = SoundClassifier.from_config(config_of(family)).eval()
    assert isinstance(model, SoundClassifier)
    values, _ = batch()
    with torch.no_grad():
        difference = model(values).logits - model.plain(values).logits
    assert difference.abs().max() < NEAR
    assert not any("projector" in name for name, _ in model.named_parameters())


@pytest.mark.parametrize("family", sorted(_MASK_HIDES))
def test_a_mask_hides_padding_in_the_families_that_are_padded(family):
    model = SoundClassifier.from_config(config_of(family, **MASKED)).eval()
    values, mask = batch()
    with torch.no_grad():
        padded, alone = model(values, mask).logits[1], model(values[1:, :5000]).logits[0]
        assert (model(values, mask).logits - model.plain(values, mask).logits).abs().max() < NEAR
    assert (padded - alone).abs().max() < NEAR


@pytest.mark.parametrize(
    ("family", "changes"), [("wav2vec2", {}), ("hubert", {}), ("data2vec-audio", MASKED), ("sew", MASKED)]
)
def test_elsewhere_padding_changes_what_comes_out(family, changes):
    model = SoundClassifier.from_config(config_of(family, **changes)).eval()
    values, mask = batch()
    with torch.no_grad():
        padded, alone = model(values, mask).logits[1], model(values[1:, :5000]).logits[0]
    assert (padded - alone).abs().max() > 5 * NEAR


@pytest.mark.parametrize("family", sorted(NOT_BY_MEAN))
def test_other_classifiers_stay_as_they_are(family):
    config = CONFIG_MAPPING[family](num_labels=3)
    with torch.device("meta"):
        assert type(SoundClassifier.from_config(config)).__module__.startswith("transformers.")


def test_a_sum_over_layers_stays_as_it_is():
    model = SoundClassifier.from_config(config_of("wav2vec2", use_weighted_layer_sum=True))
    assert isinstance(model, hf.Wav2Vec2ForSequenceClassification)


def test_what_it_saves_is_the_same_model_of_transformers(tmp_path):
    model = SoundClassifier.from_config(config_of("wav2vec2")).eval()
    model.save_pretrained(tmp_path)
    plain = hf.AutoModelForAudioClassification.from_pretrained(tmp_path).eval()
    again, report = SoundClassifier.from_pretrained(
        str(tmp_path), config=plain.config, output_loading_info=True
    )
    values, _ = batch()
    with torch.no_grad():
        logits = model(values).logits
        assert torch.equal(again.eval()(values).logits, logits)
        assert (plain(values).logits - logits).abs().max() < NEAR
    assert report["missing_keys"] == []
    assert plain.config.architectures == ["Wav2Vec2ForSequenceClassification"]


def test_of_a_checkpoint_without_a_head_only_the_head_is_new(tmp_path):
    config = config_of("hubert")
    hf.HubertModel(config).save_pretrained(tmp_path)
    model, report = SoundClassifier.from_pretrained(str(tmp_path), config=config, output_loading_info=True)
    assert sorted(report["missing_keys"]) == ["classifier.bias", "classifier.weight"]
    assert model.classifier.weight.std().item() == pytest.approx(config.initializer_range, rel=0.4)
