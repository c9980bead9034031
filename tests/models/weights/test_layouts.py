"""Names of other libraries: every tensor of a whole network finds its place, or is known to have none."""

import pathlib

import numpy as np
import pytest

from mtl_tf import build_model, cityscapes_tasks
from mtl_tf.config import ModelConfig
from mtl_tf.models.encoders import build_encoder
from mtl_tf.models.weights.kin import kin_of
from mtl_tf.models.weights.layouts import translate
from mtl_tf.models.weights.tensors import Tensor, UnreadableError
from tests.models.weights import draw

GOLDENS = pathlib.Path(__file__).parent / "goldens"
RATES = (12, 24, 36)


def named_shapes(network: str) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of a whole network, as its library gives them."""
    lines = (line.split(" ") for line in (GOLDENS / f"{network}.txt").read_text().splitlines())
    return {name: tuple(int(size) for size in sizes.split(",") if size) for name, sizes in lines}


def tensors_of(shapes, prefix: str = "") -> dict[str, Tensor]:
    """Tensors with the numbers that belong to their names."""
    return {
        prefix + name: Tensor(shape, lambda name=name, shape=shape: draw.weight(name, shape))
        for name, shape in shapes.items()
    }


def network(encoder: str, **options):
    config = ModelConfig(encoder=encoder, aspp_rates=RATES, **options)
    return {variable.path: tuple(variable.shape) for variable in build_model(config, cityscapes_tasks()).variables}


@pytest.mark.parametrize(
    ("name", "encoder", "parts", "beside"),
    [
        ("torchvision_deeplabv3_resnet50", "resnet50", ("shared/aspp",), ("classifier.1", "aux_classifier.0")),
        ("smp_deeplabv3_resnet18", "resnet18", ("shared/aspp",), ("decoder.conv", "segmentation_head.0")),
        ("smp_deeplabv3plus_resnet18", "resnet18", ("shared/aspp", "shared/decoder/skip"), ("decoder.block2",)),
        ("smp_deeplabv3plus_resnet50", "resnet50", ("shared/aspp", "shared/decoder/skip"), ("decoder.aspp",)),
    ],
)
def test_every_tensor_of_a_whole_network_is_placed(name, encoder, parts, beside):
    ours = network(encoder)
    shapes = named_shapes(name)
    found = translate(tensors_of(shapes), ours, RATES)
    expected = {path: shape for path, shape in ours.items() if path.startswith(("encoder/", *parts))}
    assert {path: tensor.shape for path, tensor in found.tensors.items()} == expected
    assert set(beside) <= set(found.beside) and not found.notes
    # A separable convolution is two tensors there, one here: three of them.
    joined = 3 if "plus" in name else 0
    counted = sum(not key.endswith("num_batches_tracked") for key in shapes)
    assert len(found.tensors) + joined + sum(found.beside.values()) == counted


def test_every_tensor_of_an_hrnet_is_placed():
    """Those that classify images stand beside it."""
    shapes = named_shapes("timm_hrnet_w18_small_v2")
    ours = {variable.path: tuple(variable.shape) for variable in build_encoder("hrnet_w18_small_v2").variables}
    found = translate(tensors_of(shapes), ours, RATES)
    assert {path: tensor.shape for path, tensor in found.tensors.items()} == ours
    assert set(found.beside) == {"incre_modules", "downsamp_modules", "final_layer", "classifier"}
    counted = sum(not key.endswith("num_batches_tracked") for key in shapes)
    assert len(found.tensors) + sum(found.beside.values()) == counted
    assert kin_of({path: tensor.shape for path, tensor in found.tensors.items()}) == "hrnet_w18_small_v2"


def test_the_encoder_of_another_depth_is_told_by_its_shapes():
    found = translate(tensors_of(named_shapes("torchvision_deeplabv3_resnet101")), {}, RATES)
    assert kin_of({path: tensor.shape for path, tensor in found.tensors.items()}) == "resnet101"


@pytest.mark.parametrize(
    ("count", "widths", "bottleneck", "expected"),
    [
        (16, (3, 3, 64, 64), False, "resnet18"),
        (48, (3, 3, 128, 128), True, "wide_resnet50_2"),
        (48, (3, 3, 4, 128), True, "resnext50_32x4d"),
        (99, (3, 3, 8, 256), True, "resnext101_32x8d"),
        (99, (3, 3, 4, 256), True, "resnext101_64x4d"),
        (150, (3, 3, 64, 64), True, "resnet152"),
    ],
)
def test_kin(count, widths, bottleneck, expected):
    shapes = {f"encoder/layer4_{number}_conv1/kernel": (1, 1, 1, 1) for number in range(count - 2 - bottleneck)}
    shapes |= {"encoder/layer1_0_conv1/kernel": (1, 1, 64, 64), "encoder/layer1_0_conv2/kernel": widths}
    shapes |= {"encoder/layer1_0_conv3/kernel": (1, 1, 64, 256)} if bottleneck else {}
    assert kin_of(shapes) == expected


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "module.model."])
def test_wrappers_of_training_scripts_are_taken_off(prefix):
    shapes = {name: shape for name, shape in named_shapes("smp_deeplabv3_resnet18").items() if "encoder" in name}
    plain = {name.removeprefix("encoder."): shape for name, shape in shapes.items()}
    found = translate(tensors_of(plain | {"fc.weight": (10, 512)}, prefix), {}, RATES)
    assert len(found.tensors) == 100 and all(path.startswith("encoder/") for path in found.tensors)
    assert found.beside == {"fc": 1}


def test_an_unknown_tensor_keeps_its_name_and_is_not_lost():
    plain = {"layer1.0.conv1.weight": (64, 64, 3, 3), "attention.weight": (3, 3), "layer1.0.gate.weight": (3,)}
    found = translate(tensors_of(plain), {}, RATES)
    assert "attention.weight" in found.tensors and "encoder/layer1_0_gate/gamma" in found.tensors


def test_two_tensors_for_one_place_are_refused():
    twice = {"layer1.0.conv1.weight": (64, 64, 3, 3), "layer1.0.downsample.0.weight": (64, 64, 1, 1)}
    twice["layer1.0.downsample.weight"] = (64, 64, 1, 1)
    with pytest.raises(UnreadableError, match="encoder/layer1_0_downsample/kernel twice"):
        translate(tensors_of(twice), {}, RATES)


def test_an_aspp_of_other_branches_is_refused():
    ours = network("resnet18")
    with pytest.raises(UnreadableError, match=r"ASPP of 3 dilated branches, --model\.aspp_rates names 2"):
        translate(tensors_of(named_shapes("smp_deeplabv3_resnet18")), ours, (6, 12))


def test_other_dilations_are_said():
    found = translate(tensors_of(named_shapes("smp_deeplabv3_resnet18")), network("resnet18"), (3, 6, 9))
    assert found.notes == ["its ASPP is dilated by 12,24,36 unless it was built otherwise, here by 3,6,9"]


def test_a_network_without_aspp_leaves_it():
    found = translate(tensors_of(named_shapes("smp_deeplabv3_resnet18")), network("resnet18", aspp=False), RATES)
    assert all(path.startswith("encoder/") for path in found.tensors)
    assert found.beside["decoder.aspp"] == 30


def test_a_layout_that_is_not_known():
    with pytest.raises(UnreadableError, match=r"no encoder in a layout that is known here \(its first tensors: blocks"):
        translate(tensors_of({"blocks.0.attn.qkv.weight": (3, 3), "norm.weight": (3,)}), {}, RATES)


def test_a_separable_convolution_becomes_one():
    """Each channel by itself, then all of them: worked out as two sums."""
    shapes = named_shapes("smp_deeplabv3plus_resnet18")
    found = translate(tensors_of(shapes), network("resnet18"), RATES)
    kernel = found.tensors["shared/aspp/atrous12_conv/kernel"].read()  # (3, 3, in, out)
    depth, point = (
        draw.weight(name, shapes[name]) for name in (f"decoder.aspp.0.convs.1.0.{i}.weight" for i in (0, 1))
    )
    pixels = draw.uniform("pixels", -1, 1, (3, 3, 512)).astype(np.float64)
    channels = np.einsum("ijc,cij->c", pixels, depth[:, 0].astype(np.float64))
    np.testing.assert_allclose(
        np.einsum("ijc,ijco->o", pixels, kernel.astype(np.float64)), point[:, :, 0, 0] @ channels, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("shape", [(0,), (2, 0, 3, 3), (2, 1, 3), (3, 1, 3, 3)])
def test_halves_of_a_separable_convolution_that_do_not_go_together(shape):
    shapes = named_shapes("smp_deeplabv3plus_resnet18")
    name = next(name for name in shapes if name.endswith("convs.1.0.0.weight"))
    with pytest.raises(UnreadableError, match="do not go together"):
        translate(tensors_of(shapes | {name: shape}), {"shared/aspp/point_conv/kernel": ()}, RATES)
