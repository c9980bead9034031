"""Features of PyTorch's own networks with the same numbers, at every stride, through the public loader."""

import json
import pathlib

import keras
import numpy as np
import pytest
import safetensors.numpy

from mtl_tf import build_model, cityscapes_tasks
from mtl_tf.config import ModelConfig
from mtl_tf.models.encoders import build_encoder
from mtl_tf.models.weights import load_encoder_weights, load_pretrained
from tests.models.weights import draw, torch_writer
from tests.models.weights.test_layouts import RATES, named_shapes

pytestmark = pytest.mark.slow

FEATURES = json.loads((pathlib.Path(__file__).parent / "goldens" / "features.json").read_text())
TOLERANCE = 1e-4  # of the largest value


def assert_summary(name: str, value, expected: dict):
    """A feature is the golden one: shape, mean, spread and sampled values."""
    found = draw.summary(name, value)
    assert found["shape"] == expected["shape"], name
    for key in ("mean", "std", "largest", "values"):
        distance = np.abs(np.subtract(found[key], expected[key])).max() / expected["largest"]
        assert distance < TOLERANCE, (name, key, distance)
    assert expected["std"] > 0.05 * expected["largest"] and np.ptp(expected["values"]) > 0.1 * expected["largest"]


def branched(layer: str) -> str:
    """timm's name of a layer of HRNet's branches; another layer keeps its own."""
    module, place = layer.removesuffix("_bn").replace("_", "."), int(layer.endswith("_bn"))
    if module.startswith("transition"):
        # What makes a new branch is a sequence of steps there, what takes over the one before is one.
        return f"{module}.{place}" if module == "transition1.0" else f"{module}.0.{place}"
    if ".fuse" in module:
        return f"{module.replace('.fuse', '.fuse_layers.').replace('down', '')}.{place}"
    return module.replace(".branch", ".branches.")


def torch_tensors(encoder: keras.Model) -> dict[str, np.ndarray]:
    """Numbers for every variable of an encoder, under PyTorch's name and in its layout of axes."""
    found = {}
    for variable in encoder.variables:
        _, layer, leaf = variable.path.split("/")
        if layer.startswith("layer"):
            block, index, part = layer.split("_", 2)
            part = {"downsample": "downsample.0", "downsample_bn": "downsample.1"}.get(part, part)
            part = {"se_reduce": "se.fc1", "se_expand": "se.fc2"}.get(part, part)
            module = f"{block}.{index}.{part}"
        else:
            module = branched(layer)
        leaf = {"kernel": "weight", "gamma": "weight", "beta": "bias"}.get(leaf, leaf.replace("moving", "running"))
        leaf = leaf.replace("running_variance", "running_var")
        shape = tuple(variable.shape)
        name = f"{module}.{leaf}"
        found[name] = draw.weight(name, (*shape[:1:-1], *shape[:2]) if len(shape) == 4 else shape)
    return found


def write(path, tensors):
    """Writes a file of the format that its name says."""
    if path.suffix == ".safetensors":
        safetensors.numpy.save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, path)
    elif "legacy" in path.name:
        torch_writer.write_legacy(path, tensors)
    else:
        torch_writer.write_zip(path, tensors)


CASES = [("resnet18", "a.safetensors"), ("resnet18", "a.pth"), ("resnet18", "a_legacy.pth"), ("resnet34", "a.pth")]
CASES += [("resnet50", "a.safetensors"), ("resnet50", "a.pth"), ("seresnet50", "a.pth")]
CASES += [("hrnet_w18_small_v2", "a.safetensors"), ("hrnet_w18_small_v2", "a.pth")]
LARGE = [("resnet101", "a.pth"), ("wide_resnet50_2", "a.safetensors"), ("resnext50_32x4d", "a.pth")]
LARGE += [("hrnet_w18", "a.pth"), ("hrnet_w48", "a.safetensors")]
CASES += [pytest.param(*case, marks=pytest.mark.slow) for case in LARGE]


@pytest.mark.parametrize(("name", "file"), CASES)
def test_features_at_every_stride(name, file, tmp_path):
    excite, ours = name.startswith("se"), name.removeprefix("se")
    encoder = build_encoder(ours, excite=excite)
    tensors = torch_tensors(encoder)
    write(tmp_path / file, tensors | {"fc.weight": np.ones((2, 3), np.float32)})
    config = ModelConfig(encoder=ours, encoder_weights=str(tmp_path / file), squeeze_excitation=excite)
    said = load_encoder_weights(encoder, config)
    assert f"all {len(encoder.variables)} tensors" in said and "not taken from the file: fc (1)" in said
    # timm's HRNet takes no others than multiples of 32.
    found = encoder(draw.image(64, 96) if name.startswith("hrnet") else draw.image(45, 70))
    assert set(FEATURES[name]) == set(found) - {"last"}
    for stride, expected in FEATURES[name].items():
        assert_summary(f"{name} {stride}", found[stride], expected)


def whole(name: str, encoder: str, dilation, path):
    """A network of ours that starts from a whole network of PyTorch."""
    tensors = {key: draw.weight(key, shape) for key, shape in named_shapes(name).items()}
    torch_writer.write_zip(path, tensors)
    config = ModelConfig(encoder=encoder, dilation=dilation, aspp_rates=RATES, weights=str(path))
    model = build_model(config, cityscapes_tasks())
    return model, load_pretrained(model, config)


def test_torchvisions_deeplab_from_the_image_to_the_end_of_its_aspp(tmp_path):
    model, said = whole("torchvision_deeplabv3_resnet50", "resnet50", (0, 1, 1), tmp_path / "deeplab.pth")
    assert "all 265 tensors of resnet50" in said and "also shared/aspp (30)" in said
    golden = FEATURES["torchvision_deeplabv3_resnet50"]
    last = model.get_layer("encoder")(draw.image(112, 320))["last"]
    assert_summary("torchvision last", last, golden["last"])
    assert_summary("torchvision aspp", model.get_layer("shared_aspp")(last), golden["aspp"])


def test_the_aspp_and_the_skip_of_segmentation_models_pytorch(tmp_path):
    model, said = whole("smp_deeplabv3plus_resnet18", "resnet18", (0, 0, 1), tmp_path / "plus.pth")
    assert "all 100 tensors of resnet18" in said and "also shared/aspp (30), shared/decoder/skip (5)" in said
    golden = FEATURES["smp_deeplabv3plus_resnet18"]
    assert_summary("smp aspp", model.get_layer("shared_aspp")(draw.feature(512, 13, 40)), golden["aspp"])
    decoder = model.get_layer("shared_decoder")
    skip = keras.Model(decoder.inputs, decoder.get_layer("skip_relu").output)
    found = skip([np.zeros((1, 13, 40, 256), np.float32), draw.feature(64, 26, 80)])
    assert_summary("smp skip", found, golden["skip"])


def test_the_published_file_gives_the_features_of_keras_at_every_stride(shared):
    path = shared / "weights" / "resnet50_imagenet_notop.weights.h5"
    if not path.is_file():
        pytest.skip(f"{path.name} is not there")
    encoder = build_encoder("resnet50_keras")
    load_encoder_weights(encoder, ModelConfig(encoder="resnet50_keras", encoder_weights=str(path)))
    reference = keras.applications.ResNet50(include_top=False, weights=str(path), input_shape=(None, None, 3))
    ends = ("conv1_relu", "conv2_block3_out", "conv3_block4_out", "conv4_block6_out", "conv5_block3_out")
    taps = keras.Model(reference.input, [reference.get_layer(name).output for name in ends])
    image = draw.image(65, 97)
    expected = taps(keras.applications.resnet.preprocess_input(image.copy()))
    found = encoder(image)
    for stride, value in zip((2, 4, 8, 16, 32), expected, strict=True):
        value, ours = np.asarray(value), np.asarray(found[f"stride{stride}"])
        assert ours.shape == value.shape
        assert np.abs(ours - value).max() < TOLERANCE * np.abs(value).max()
