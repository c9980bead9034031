"""Pretrained encoders: files that fit are taken whole, files that do not are refused and change nothing."""

import dataclasses
import re
import shutil

import h5py
import keras
import numpy as np
import pytest

from mtl_tf import build_model, cityscapes_tasks
from mtl_tf.config import ModelConfig
from mtl_tf.errors import UsageError
from mtl_tf.models.encoders import build_encoder
from mtl_tf.models.encoders.applications import APPLICATIONS
from mtl_tf.models.encoders.replay import named_layers
from mtl_tf.models.weights import load_encoder_weights
from mtl_tf.training.checkpoints import save_weights
from tests.models.common import difference, pictures, randomise


def config(encoder, source):
    return ModelConfig(encoder=encoder, encoder_weights=str(source))


def resnet50(**options):
    """keras.applications.ResNet50 with random weights, for any image size."""
    return keras.applications.ResNet50(include_top=False, input_shape=(None, None, 3), **{"weights": None, **options})


@pytest.fixture(scope="module")
def keras_file(tmp_path_factory):
    """A weight file of keras.applications.ResNet50, and its last feature for one picture."""
    path = tmp_path_factory.mktemp("weights") / "resnet50.weights.h5"
    model = resnet50()
    randomise(model, seed=5)
    model.save_weights(path)
    return path, np.asarray(model(keras.applications.resnet.preprocess_input(pictures(1, 33, 48))))


@pytest.fixture(scope="module")
def run_file(tmp_path_factory):
    """The best weights of a run with a resnet18, and its encoder's weights."""
    path = tmp_path_factory.mktemp("run") / "best" / "weights.h5"
    model = build_model(ModelConfig(architecture="branched", encoder="resnet18"), cityscapes_tasks())
    randomise(model, seed=6)
    save_weights(model, path)
    return path, model.get_layer("encoder").get_weights()


def replace_fetch(monkeypatch, fetch):
    """Puts a function in the place of keras.applications.ResNet50."""
    row = dataclasses.replace(APPLICATIONS["resnet50_keras"], network=fetch)
    monkeypatch.setitem(APPLICATIONS, "resnet50_keras", row)


def refused(encoder, source, name="resnet50_keras"):
    """The message of a refusal, after checking that it changed nothing."""
    before = encoder.get_weights()
    policy = keras.config.dtype_policy().name
    with pytest.raises(UsageError) as error:
        load_encoder_weights(encoder, config(name, source))
    for value, old in zip(encoder.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, old)
    assert keras.config.dtype_policy().name == policy
    assert "\n" not in str(error.value) and len(str(error.value)) < 600
    assert f"--model.encoder_weights={source}" in str(error.value)
    return str(error.value)


# === Files that fit ===


def test_none_changes_nothing():
    encoder = build_encoder("resnet18")
    before = encoder.get_weights()
    assert load_encoder_weights(encoder, config("resnet18", "none")) == ""
    for value, old in zip(encoder.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, old)


def test_a_file_of_keras_applications_gives_its_features(keras_file):
    path, expected = keras_file
    encoder = build_encoder("resnet50_keras")
    said = load_encoder_weights(encoder, config("resnet50_keras", path))
    assert str(path) in said and f"all {len(encoder.variables)} tensors" in said
    assert difference(encoder(pictures(1, 33, 48))["last"], expected) < 1e-4


def test_mixed_precision_takes_the_same_weights(keras_file):
    path, _ = keras_file
    keras.config.set_dtype_policy("mixed_bfloat16")
    encoder = build_encoder("resnet50_keras")
    load_encoder_weights(encoder, config("resnet50_keras", path))
    assert keras.config.dtype_policy().name == "mixed_bfloat16"
    weight = next(v for v in encoder.variables if v.path == "encoder/conv5_block3_3_conv/kernel")
    with h5py.File(path) as file:
        stored = [layer["vars"]["0"] for layer in file["layers"].values() if "0" in layer.get("vars", {})]
        assert any(value.shape == weight.shape and (value[()] == weight.numpy()).all() for value in stored)


def test_the_best_weights_of_a_run_start_another_one(run_file):
    path, expected = run_file
    model = build_model(ModelConfig(encoder="resnet18", dilation=(0, 1, 1)), cityscapes_tasks())
    encoder = model.get_layer("encoder")
    assert str(path) in load_encoder_weights(encoder, config("resnet18", path))
    for value, stored in zip(encoder.get_weights(), expected, strict=True):
        np.testing.assert_array_equal(value, stored)


def test_imagenet_takes_what_keras_fetches(monkeypatch):
    fetched = []

    def fetch(include_top, weights):
        fetched.append((include_top, weights))
        model = resnet50()
        randomise(model, seed=7)
        return model

    encoder = build_encoder("resnet50_keras")
    replace_fetch(monkeypatch, fetch)
    assert "ImageNet" in load_encoder_weights(encoder, config("resnet50_keras", "imagenet"))
    assert fetched == [(False, "imagenet")]
    reference = resnet50()
    randomise(reference, seed=7)
    for layer in reference.layers:
        if layer.weights:
            for value, expected in zip(encoder.get_layer(layer.name).get_weights(), layer.get_weights(), strict=True):
                np.testing.assert_array_equal(value, expected)


# === Files that do not ===


def test_imagenet_without_a_network_says_what_to_do(monkeypatch):
    def fetch(include_top, weights):
        raise Exception("URL fetch failure on https://storage.invalid/resnet50.h5:\nNone -- Name or service not known")

    keras.config.set_dtype_policy("mixed_bfloat16")
    encoder = build_encoder("resnet50_keras")
    replace_fetch(monkeypatch, fetch)
    message = refused(encoder, "imagenet")
    assert "cannot be fetched" in message and "URL fetch failure" in message
    assert "--model.encoder_weights=PATH" in message


def test_a_missing_file(tmp_path):
    assert "no such file" in refused(build_encoder("resnet18"), tmp_path / "nothing.h5", "resnet18")
    assert "no such file" in refused(build_encoder("resnet18"), tmp_path, "resnet18")


@pytest.mark.parametrize("content", [b"", b"not HDF5 at all", b"\x89HDF\r\n\x1a\n and then nothing"])
def test_a_file_that_is_no_hdf5(content, tmp_path):
    path = tmp_path / "weights.h5"
    path.write_bytes(content)
    assert re.search(
        "is empty|no weight file|damaged or cut off HDF5", refused(build_encoder("resnet18"), path, "resnet18")
    )


def test_a_cut_off_file(run_file, tmp_path):
    path = tmp_path / "weights.h5"
    whole = run_file[0].read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "damaged" in refused(build_encoder("resnet18"), path, "resnet18")


def test_an_hdf5_file_of_something_else(tmp_path):
    path = tmp_path / "weights.h5"
    with h5py.File(path, "w") as file:
        file["pictures"] = np.zeros(3)
    assert "no encoder in a layout that is known" in refused(build_encoder("resnet18"), path, "resnet18")


def test_a_run_with_another_encoder(run_file):
    message = refused(build_encoder("resnet34"), run_file[0], "resnet34")
    assert "encoder/layer1_2_conv1/kernel is missing" in message
    # A resnet34 has 8 blocks more than a resnet18, of two convolutions and batch norms of four tensors each.
    assert f"{8 * 10} of {36 * 5} tensors" in message


def test_a_run_with_a_larger_encoder(tmp_path):
    """A resnet34 has every tensor of a resnet18, but does not compute its features without the rest."""
    path = tmp_path / "weights.h5"
    save_weights(build_encoder("resnet34"), path)
    message = refused(build_encoder("resnet18"), path, "resnet18")
    assert "encoder/layer1_2_bn1/beta is not in the network" in message
    assert f"{8 * 10} of {36 * 5} tensors" in message


def test_a_run_whose_shapes_differ(run_file, tmp_path):
    path = tmp_path / "weights.h5"
    shutil.copy(run_file[0], path)
    with h5py.File(path, "r+") as file:
        del file["encoder/bn1/beta"]
        file["encoder/bn1/beta"] = np.zeros(7, np.float32)
    message = refused(build_encoder("resnet18"), path, "resnet18")
    assert "1 of 100 tensors" in message
    assert "encoder/bn1/beta is (7,), expected (64,)" in message


def test_a_keras_file_for_another_encoder_names_the_one_that_fits(keras_file):
    message = refused(build_encoder("resnet18"), keras_file[0], "resnet18")
    assert "does not fit --model.encoder=resnet18" in message
    assert "these are of resnet50_keras: use --model.encoder=resnet50_keras" in message


def test_a_keras_file_of_another_network(tmp_path):
    path = tmp_path / "mobilenet.weights.h5"
    other = keras.applications.MobileNet(alpha=0.25, include_top=False, weights=None, input_shape=(32, 32, 3))
    other.save_weights(path)
    message = refused(build_encoder("resnet50_keras"), path)
    assert "is not in the network" in message
    assert "does not fit --model.encoder=resnet50_keras" in message


def test_the_name_of_a_file_does_not_matter(keras_file, tmp_path):
    path = tmp_path / "resnet50.pth"
    path.symlink_to(keras_file[0])
    encoder = build_encoder("resnet50_keras")
    assert "all 318 tensors" in load_encoder_weights(encoder, config("resnet50_keras", path))


def test_the_old_format_of_keras_and_its_classifier(tmp_path):
    model = keras.applications.ResNet50(weights=None)
    randomise(model, seed=9)
    encoder = build_encoder("resnet50_keras")
    expected = [model.get_layer(layer.name).get_weights() for layer in encoder.layers if layer.weights]
    for save, name in ((model.save_weights, "new.weights.h5"), (model.save, "old.h5")):
        save(tmp_path / name)
        said = load_encoder_weights(encoder, config("resnet50_keras", tmp_path / name))
        assert "all 318 tensors" in said and "not taken from the file: predictions (2)" in said
        found = [layer.get_weights() for layer in encoder.layers if layer.weights]
        for values, wanted in zip(found, expected, strict=True):
            for value, other in zip(values, wanted, strict=True):
                np.testing.assert_array_equal(value, other)
        for variable in encoder.variables:
            variable.assign(np.zeros(variable.shape, np.float32))


@pytest.mark.parametrize(
    "name", ["mobilenetv3_small", "efficientnet_b0", pytest.param("convnext_tiny", marks=pytest.mark.slow)]
)
@pytest.mark.filterwarnings("ignore::UserWarning")  # of Keras, about its old format
def test_files_of_other_networks_of_keras(name, monkeypatch, tmp_path):
    """Both formats, with the classifier, and what Keras would fetch give the encoder the network's own numbers.

    ConvNeXt's last norm follows the pooling where there is a classifier, so that only files without it fit.
    """
    top = not name.startswith("convnext")
    network = APPLICATIONS[name].network(weights=None) if top else APPLICATIONS[name].without_top()
    randomise(network, seed=3)
    encoder = build_encoder(name)
    variables = [variable for variable in encoder.variables if "seed_generator" not in variable.path]
    expected = {
        f"encoder/{layer}/{number}": variable.numpy()
        for layer, inner in named_layers(network)
        for number, variable in enumerate(getattr(inner, "variables", ()))
    }

    def check(source):
        for variable in variables:
            variable.assign(np.zeros(variable.shape, np.float32))
        said = load_encoder_weights(encoder, config(name, source))
        assert f"all {len(variables)} tensors of {name}" in said
        for layer in encoder.layers:
            for number, variable in enumerate(layer.variables):
                np.testing.assert_array_equal(variable, expected[f"encoder/{layer.name}/{number}"], variable.path)
        return said

    network.save_weights(tmp_path / "new.weights.h5")
    network.save(tmp_path / "old.h5")
    for file in ("new.weights.h5", "old.h5"):
        said = check(tmp_path / file)
        assert ("not taken from the file: " in said) == top and bool(re.search("predictions|logits", said)) == top
    fetched = dataclasses.replace(APPLICATIONS[name], network=lambda include_top, weights: network)
    monkeypatch.setitem(APPLICATIONS, name, fetched)
    check("imagenet")


@pytest.mark.parametrize("name", ["conv1_conv", "conv5_block3_3_bn"])
def test_a_single_layer_that_does_not_fit_is_named(name, keras_file, tmp_path):
    """The layers of a file are numbered; what the message says must be the right one."""
    path = tmp_path / "edited.weights.h5"
    shutil.copy(keras_file[0], path)
    model = resnet50()
    model.load_weights(path)
    first = model.get_layer(name).get_weights()[0]
    with h5py.File(path, "r+") as file:
        layers = [layer for layer in file["layers"].values() if "0" in layer.get("vars", {})]
        (edited,) = [layer for layer in layers if np.array_equal(layer["vars"]["0"][()], first)]
        del edited["vars"]["0"]
        if name == "conv1_conv":
            edited["vars"]["0"] = np.zeros(3, np.float32)
    message = refused(build_encoder("resnet50_keras"), path)
    found = "(3,), expected (7, 7, 3, 64)" if name == "conv1_conv" else "missing"
    assert "1 of 318 tensors differ" in message and f"encoder/{name}/" in message and f" is {found}" in message
