"""Files with several sets of weights, and names of which some have wrappers: what is taken is said, and is chosen."""

import numpy as np
import pytest
import safetensors.numpy

from mtl_tf import build_model
from mtl_tf.config import ModelConfig
from mtl_tf.errors import UsageError
from mtl_tf.models.encoders import build_encoder
from mtl_tf.models.weights import load_encoder_weights, load_from, load_pretrained
from mtl_tf.training.checkpoints import save_weights
from tests.models import common
from tests.models.common import randomise
from tests.models.weights import draw, torch_writer
from tests.models.weights.test_layouts import named_shapes
from tests.models.weights.test_whole import tasks

SHAPES = {
    name.removeprefix("encoder."): shape
    for name, shape in named_shapes("smp_deeplabv3_resnet18").items()
    if name.startswith("encoder.")
}
BIAS = "bn1.bias"  # by its value the sets are told


def state(value: float, rename=str) -> dict[str, np.ndarray]:
    """A resnet18 of PyTorch that is known by one of its tensors."""
    made = {rename(name): draw.weight(name, shape) for name, shape in SHAPES.items()}
    return made | {rename(BIAS): np.full(64, value, np.float32)}


def nested_pickle(sets: dict[str, dict], legacy: bool = False) -> tuple[dict, bytes]:
    """All tensors, and the pickle of {"NAME": {...}, ...}, where a name with dots is a dict within a dict."""
    out, tensors = torch_writer.Pickle()(b"}"), {}
    for name, content in sets.items():
        pieces = name.split(".")
        for piece in pieces:
            out.text(piece)(b"}")
        for key, value in content.items():
            out.text(key).tensor(str(len(tensors)), value, legacy)(b"s")
            tensors[f"{name}.{key}"] = value
        out(b"s" * len(pieces))
    out.text("epoch").number(3)(b"s")
    return tensors, out.end()


@pytest.fixture(scope="module")
def encoder():
    return build_encoder("resnet18")


def loaded(encoder, path, key="") -> tuple[float, str]:
    """The value by which the set is known that was loaded, and what was said."""
    config = ModelConfig(encoder="resnet18", encoder_weights=str(path), weights_key=key)
    randomise(encoder)
    said = load_encoder_weights(encoder, config)
    assert "all 100 tensors of resnet18" in said
    (beta,) = [variable for variable in encoder.variables if variable.path == "encoder/bn1/beta"]
    assert len(np.unique(beta)) == 1
    return float(beta[0]), said


def refused(encoder, path, key="") -> str:
    return common.refused(encoder, ModelConfig(encoder="resnet18", encoder_weights=str(path), weights_key=key))


# === Several sets ===


@pytest.mark.parametrize(
    ("trained", "averaged"),
    [
        ("state_dict", "state_dict_ema"),
        ("model", "model_ema"),
        ("model", "model_ema.module"),
        ("model.module", "ema.state_dict"),
        ("model_state_dict", "ema_model_state_dict"),
        ("student", "teacher"),
        ("net", "swa_net"),
    ],
)
def test_the_trained_weights_are_taken_and_the_averages_offered(trained, averaged, encoder, tmp_path):
    path = tmp_path / "a.pth"
    torch_writer.write_zip(path, *nested_pickle({averaged: state(2.0), trained: state(1.0)}))
    value, said = loaded(encoder, path)
    ema, usual = (name.replace(".module", "") for name in (averaged, trained))
    assert value == 1.0 and f"{usual} is taken, not {ema} (--model.weights_key=NAME takes another)" in said
    value, said = loaded(encoder, path, averaged)
    assert value == 2.0 and f"{ema} is taken, not {usual}" in said


def test_the_start_of_a_name_is_enough(encoder, tmp_path):
    sets = {"model": state(1.0), "ema.module.state_dict": state(2.0)}
    torch_writer.write_legacy(tmp_path / "a.pth", *nested_pickle(sets, legacy=True))
    for key in ("ema", "ema.module", "ema.state_dict"):
        assert loaded(encoder, tmp_path / "a.pth", key)[0] == 2.0
    assert loaded(encoder, tmp_path / "a.pth", "model")[0] == 1.0


def test_a_set_that_is_not_there(encoder, tmp_path):
    torch_writer.write_zip(tmp_path / "a.pth", *nested_pickle({"model": state(1.0), "model_ema": state(2.0)}))
    message = refused(encoder, tmp_path / "a.pth", "ema")
    assert "no encoder under --model.weights_key=ema; it holds model, model_ema" in message


def test_averages_alone_are_loaded_and_called_so(encoder, tmp_path):
    torch_writer.write_zip(tmp_path / "a.pth", *nested_pickle({"state_dict_ema": state(2.0)}))
    value, said = loaded(encoder, tmp_path / "a.pth")
    assert value == 2.0 and "its only weights, state_dict_ema, are averages" in said


def test_one_set_needs_no_word(encoder, tmp_path):
    torch_writer.write_zip(tmp_path / "a.pth", *nested_pickle({"state_dict": state(1.0)}))
    assert loaded(encoder, tmp_path / "a.pth")[1].endswith("a.pth")


def test_sets_in_one_dict_are_told_by_their_prefixes(encoder, tmp_path):
    """As Lightning writes them, and as safetensors can."""
    model, ema = (state(value, f"{name}.backbone.{{}}".format) for name, value in (("model_ema", 2.0), ("model", 1.0)))
    tensors = {**model, **ema, "model.classifier.weight": np.ones((2, 2), np.float32), "criterion.w": np.ones(2)}
    safetensors.numpy.save_file({name: value.astype(np.float32) for name, value in tensors.items()}, tmp_path / "a.st")
    value, said = loaded(encoder, tmp_path / "a.st")
    assert value == 1.0 and "model.backbone is taken, not model_ema.backbone" in said
    assert "classifier.weight (1), criterion.w (1)" in said
    value, said = loaded(encoder, tmp_path / "a.st", "model_ema")
    assert value == 2.0 and "classifier" not in said


def test_a_set_that_does_not_fit_names_the_others(encoder, tmp_path):
    wrong = state(1.0) | {"layer1.0.conv1.weight": np.ones((64, 32, 3, 3), np.float32)}
    torch_writer.write_zip(tmp_path / "a.pth", *nested_pickle({"model": wrong, "teacher": state(2.0)}))
    message = refused(encoder, tmp_path / "a.pth")
    assert "1 of 100 tensors differ" in message and "model is taken, not teacher" in message


def test_a_file_without_names_of_sets_takes_no_key(encoder, tmp_path):
    save_weights(encoder, tmp_path / "a.h5")
    assert "leave --model.weights_key=ema out" in refused(encoder, tmp_path / "a.h5", "ema")
    torch_writer.write_zip(tmp_path / "a.pth", state(1.0))
    assert "it holds the one without a prefix" in refused(encoder, tmp_path / "a.pth", "ema")
    with pytest.raises(UsageError, match="ImageNet weights are one set"):
        ModelConfig(encoder_weights="imagenet", weights_key="ema")
    with pytest.raises(UsageError, match="chooses within a file; name it"):
        load_pretrained(build_model(ModelConfig(encoder="resnet18"), tasks()), ModelConfig(weights_key="ema"))


def test_a_run_with_averaged_weights(encoder, tmp_path):
    for name in ("weights.h5", "averaged_weights.h5"):
        randomise(encoder)
        encoder.get_layer("bn1").beta.assign(np.full(64, 2.0 if name.startswith("averaged") else 1.0, np.float32))
        save_weights(encoder, tmp_path / "best" / name)
    value, said = loaded(encoder, tmp_path)
    assert value == 1.0 and "its best weights are taken, not averaged (--model.weights_key=averaged takes them)" in said
    assert loaded(encoder, tmp_path, "averaged")[0] == 2.0
    (tmp_path / "best" / "averaged_weights.h5").unlink()
    assert loaded(encoder, tmp_path)[1].endswith(str(tmp_path))
    assert "without weights averaged; --model.weights_key takes best" in refused(encoder, tmp_path, "averaged")
    (tmp_path / "best" / "weights.h5").rename(tmp_path / "best" / "averaged_weights.h5")
    value, said = loaded(encoder, tmp_path)
    assert value == 1.0 and "its averaged weights are taken" in said


def test_the_tool_takes_the_set_too(tmp_path):
    torch_writer.write_zip(tmp_path / "a.pth", *nested_pickle({"model": state(1.0), "model_ema": state(2.0)}))
    config = ModelConfig(encoder="resnet18", weights_key="model_ema")
    report = load_from(str(tmp_path / "a.pth"), build_encoder("resnet18"), config, "--input=a.pth")
    assert "model_ema is taken" in str(report)


# === Prefixes on some names only ===


def only(prefix: str, *starts: str):
    """Puts a prefix before the names that start so."""
    return lambda name: prefix + name if name.startswith(starts) else name


@pytest.mark.parametrize(
    "rename",
    [
        *(only(prefix, "layer") for prefix in ("module.", "model.", "backbone.", "encoder.", "_orig_mod.", "net.")),
        *(only(prefix, "conv1", "bn1") for prefix in ("module.", "model.", "backbone.", "encoder.", "_orig_mod.")),
        only("module.model.", "layer"),
        only("_orig_mod.module.", ""),
        lambda name: name.replace("layer2.", "layer2._orig_mod.").replace("layer3.0.", "layer3.0.module."),
    ],
)
def test_a_prefix_is_taken_off_where_it_is(rename, encoder, tmp_path):
    tensors = state(1.0, rename) | {"fc.weight": np.ones((5, 512), np.float32), "n_averaged": np.int64([7])}
    torch_writer.write_zip(tmp_path / "a.pth", tensors)
    value, said = loaded(encoder, tmp_path / "a.pth")
    assert value == 1.0 and "not taken from the file: fc" in said


def test_a_prefix_on_some_names_of_a_whole_network(tmp_path):
    shapes = named_shapes("smp_deeplabv3_resnet18")
    rename = only("module.", "encoder.layer", "decoder.0.convs")
    tensors = {rename(name): draw.weight(name, shape) for name, shape in shapes.items()}
    torch_writer.write_zip(tmp_path / "a.pth", tensors)
    config = ModelConfig(encoder="resnet18", weights=str(tmp_path / "a.pth"), aspp_rates=(12, 24, 36))
    said = load_pretrained(build_model(config, tasks()), config)
    assert "all 100 tensors of resnet18" in said and "also shared/aspp (30)" in said


def test_names_that_differ_by_a_wrapper_only_are_refused(encoder, tmp_path):
    tensors = state(1.0) | {"module.bn1.bias": np.ones(64, np.float32)}
    torch_writer.write_zip(tmp_path / "a.pth", tensors)
    assert "holds bn1.bias twice, once within a wrapper" in refused(encoder, tmp_path / "a.pth")
