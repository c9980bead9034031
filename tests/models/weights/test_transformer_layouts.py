"""Checkpoints of transformers: every tensor finds its place, features are PyTorch's, files that do not fit are told."""

import contextlib
import re
import types

import numpy as np
import pytest
import safetensors.numpy

from mtl_tf.config import ModelConfig
from mtl_tf.errors import UsageError
from mtl_tf.models.encoders import build_encoder
from mtl_tf.models.layers import IMAGENET
from mtl_tf.models.weights import load_encoder_weights
from mtl_tf.models.weights.kin import kin_of
from mtl_tf.models.weights.layouts import translate
from mtl_tf.models.weights.matching import match
from mtl_tf.models.weights.tensors import Tensor, UnreadableError
from mtl_tf.models.weights.transformer_layouts import rewhiten
from mtl_tf.models.weights.translation import Translation
from tests.models import common
from tests.models.common import difference, pictures
from tests.models.weights import draw, torch_writer
from tests.models.weights import small_transformers as small
from tests.models.weights.test_layouts import RATES, named_shapes, tensors_of

PUBLISHED = {
    "dinov2_small": "timm_vit_small_patch14_dinov2",
    "dinov2_small_reg": "timm_vit_small_patch14_reg4_dinov2",
    "dinov3_small_plus": "timm_vit_small_plus_patch16_dinov3",
    "vit_base": "timm_vit_base_patch16_224",
    "swin_tiny": "timm_swin_tiny_patch4_window7_224",
    "mit_b0": "transformers_mit_b0",
}
# Path -> name in the file, of a tensor of every kind.
PLACES = {
    "dinov2_small": {
        "pos_embed/pos_embed": "pos_embed",
        "blocks_11_ls2/gamma": "blocks.11.ls2.gamma",
        "blocks_3_attn_qkv/kernel": "blocks.3.attn.qkv.weight",
        "norm/beta": "norm.bias",
    },
    "dinov2_small_reg": {"reg_token/reg_token": "reg_token", "cls_token/cls_token": "cls_token"},
    "dinov3_small_plus": {"blocks_0_mlp_fc1_g/kernel": "blocks.0.mlp.fc1_g.weight"},
    "vit_base": {"patch_embed_proj/kernel": "patch_embed.proj.weight", "blocks_0_norm1/gamma": "blocks.0.norm1.weight"},
    "swin_tiny": {
        "layers_1_downsample_reduction/kernel": "layers.1.downsample.reduction.weight",
        "layers_3_blocks_1_attn/relative_position_bias_table": "layers.3.blocks.1.attn.relative_position_bias_table",
    },
    "mit_b0": {
        "block_2_1_attention_self_sr/kernel": "segformer.encoder.block.2.1.attention.self.sr.weight",
        "block_0_0_mlp_dwconv_dwconv/kernel": "segformer.encoder.block.0.0.mlp.dwconv.dwconv.weight",
        "layer_norm_3/gamma": "segformer.encoder.layer_norm.3.weight",
    },
}
TURNS = {4: (2, 3, 1, 0), 2: (1, 0)}


def turned(name: str, value: np.ndarray) -> np.ndarray:
    """A tensor of PyTorch as Keras has it."""
    turn = TURNS.get(value.ndim) if name.endswith(".weight") else None
    return value if turn is None else value.transpose(turn)


def placed(encoder: str) -> dict[str, tuple[int, ...]]:
    """The shapes of an encoder's variables, as its published checkpoint fills them."""
    shapes = named_shapes(PUBLISHED[encoder])
    # The norm behind the last block is kept for a network that has it.
    ours = {"encoder/norm/gamma": shapes.get("norm.weight"), "encoder/norm/beta": shapes.get("norm.bias")}
    return {path: tensor.shape for path, tensor in translate(tensors_of(shapes), ours, RATES).tensors.items()}


@pytest.mark.parametrize("encoder", PUBLISHED)
def test_every_tensor_of_a_published_checkpoint_is_placed_or_left_out(encoder):
    shapes = named_shapes(PUBLISHED[encoder])
    ours = placed(encoder)
    found = translate(tensors_of(shapes), ours, RATES)
    beside = {"vit_base": {"head": 2}, "swin_tiny": {"head": 2}, "mit_b0": {"classifier": 2}}
    assert found.beside == beside.get(encoder, {})
    assert len(found.tensors) + sum(found.beside.values()) == len(shapes)
    assert kin_of({path: tensor.shape for path, tensor in found.tensors.items()}) == encoder
    for path, name in PLACES[encoder].items():
        expected = turned(name, draw.weight(name, shapes[name]))
        np.testing.assert_array_equal(found.tensors[f"encoder/{path}"].read(), expected)


# === Features ===


def drawn(shapes) -> dict[str, np.ndarray]:
    return {name: draw.weight(name, shape) for name, shape in shapes.items()}


def whitened(images, mean=IMAGENET["mean"], std=IMAGENET["std"]):
    return (np.float64(images) - mean) / std


def write(path, tensors):
    """A .safetensors or a .pth."""
    tensors = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    if path.suffix == ".pth":
        torch_writer.write_zip(path, tensors)
    else:
        safetensors.numpy.save_file(tensors, path)
    return path


def load(name: str, tensors, path, **options):
    """An encoder with what a file holds, and what is said of it."""
    encoder = small.BUILDERS[name](**options)
    return encoder, load_encoder_weights(encoder, config(name, write(path, tensors)))


def config(name, path, **options):
    return ModelConfig(encoder=name, encoder_weights=str(path), **options)


IMAGES = pictures(2, 12, 12)


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
@pytest.mark.parametrize(
    ("name", "shapes", "prefix", "features", "stride"),
    [
        ("small_plain", small.PLAIN, "", small.plain_features, 4),
        ("small_swin", small.SWIN, "", small.swin_features, 8),
        ("small_mit", small.MIT, "segformer.encoder.", small.mit_features, 2),
        ("small_mit", small.MIT, "encoder.", small.mit_features, 2),
        ("small_mit", small.MIT, "", small.mit_features, 2),
    ],
)
def test_features_are_those_of_pytorch(name, shapes, prefix, features, stride, suffix, tmp_path):
    tensors = drawn(shapes)
    encoder, said = load(name, {prefix + key: value for key, value in tensors.items()}, tmp_path / f"a.{suffix}")
    assert f"all {len(tensors)} tensors of {name} from {tmp_path / f'a.{suffix}'}" in said
    assert "not taken" not in said
    assert difference(encoder(IMAGES)[f"stride{stride}"], features(tensors, whitened(IMAGES))) < 1e-5


@pytest.mark.parametrize(
    ("wrap", "beside"),
    [
        ("{}", {"head.weight": (5, 8), "head.bias": (5,), "mask_token": (1, 8)}),
        ("module.{}", {"module.fc_norm.weight": (8,), "module.fc_norm.bias": (8,), "module.head_dist.bias": (5,)}),
        ("model.{}", {}),
        ("state_dict.module.{}", {}),
        ("backbone.{}", {"decode_head.conv_seg.weight": (5, 8, 1, 1), "decode_head.bn.num_batches_tracked": ()}),
        ("teacher.backbone.{}", {"teacher.dino_head.mlp.0.weight": (8, 8), "teacher.ibot_head.mlp.0.weight": (8, 8)}),
    ],
)
def test_wrappers_are_taken_off_and_classifiers_left_out(wrap, beside, tmp_path):
    tensors = drawn(small.PLAIN)
    file = {wrap.format(name): value for name, value in tensors.items()} | drawn(beside)
    encoder, said = load("small_plain", file, tmp_path / "a.safetensors")
    assert difference(encoder(IMAGES)["stride4"], small.plain_features(tensors, whitened(IMAGES))) < 1e-5
    for name in beside:
        part = next(part for part in name.split(".") if part not in ("module", "teacher"))
        assert name.endswith("num_batches_tracked") or part in said.partition("not taken from the file: ")[2]


def test_the_report_says_what_starts_anew_and_what_is_left(tmp_path):
    file = drawn(small.PLAIN | {"head.weight": (5, 8), "head.bias": (5,), "mask_token": (1, 8)})
    path = tmp_path / "a.pth"
    _, said = load("small_plain", file, path)
    assert said == (
        f"encoder weights: all {len(small.PLAIN)} tensors of small_plain from {path}; 2 of feature pyramid start anew; "
        "not taken from the file: head (2), mask_token (1)"
    )
    _, said = load("small_swin", drawn(small.SWIN | {"head.fc.weight": (5, 16)}), tmp_path / "b.pth")
    assert "; 2 of norms of features start anew; not taken from the file: head (1)" in said


def test_a_set_of_several_is_chosen(tmp_path):
    sets = {f"{name}.backbone": drawn(small.PLAIN) for name in ("student", "teacher")}
    sets["teacher.backbone"]["norm.bias"] = np.full(small.WIDTH, 3.0, np.float32)
    file = {f"{name}.{key}": value for name, content in sets.items() for key, value in content.items()}
    path = write(tmp_path / "a.safetensors", file)
    encoder = small.plain()
    for key, value in (("", sets["student.backbone"]["norm.bias"]), ("teacher", 3.0)):
        said = load_encoder_weights(encoder, config("small_plain", path, weights_key=key))
        assert "is taken, not" in said
        np.testing.assert_array_equal(encoder.get_layer("norm").beta, value)


# === The authors' own names ===


def test_dinov2_in_pieces_and_with_registers(tmp_path):
    """Meta's: the class token's position is among the positions, whether or not there are registers."""
    tensors = drawn(small.PLAIN)
    # Blocks count on from piece to piece.
    pieces = {re.sub(r"^blocks\.(\d)", r"blocks.\1.\1", name): value for name, value in tensors.items()}
    encoder, said = load("small_plain", pieces | drawn({"mask_token": (1, 8)}), tmp_path / "a.pth")
    assert "not taken from the file: mask_token (1)" in said
    assert difference(encoder(IMAGES)["stride4"], small.plain_features(tensors, whitened(IMAGES))) < 1e-5

    registers = drawn({"register_tokens": (1, 4, small.WIDTH)})
    encoder, _ = load("small_plain", pieces | registers, tmp_path / "b.pth", registers=4)
    token, positions = tensors["cls_token"], tensors["pos_embed"]
    as_timm = tensors | {"cls_token": token + positions[:, :1], "pos_embed": positions[:, 1:]}
    as_timm["reg_token"] = registers["register_tokens"]
    assert difference(encoder(IMAGES)["stride4"], small.plain_features(as_timm, whitened(IMAGES))) < 1e-5
    there, _ = load("small_plain", as_timm, tmp_path / "c.pth", registers=4)
    np.testing.assert_array_equal(encoder(IMAGES)["stride4"], there(IMAGES)["stride4"])


def dinov3(bias) -> tuple[dict, dict[str, tuple[int, ...]]]:
    """Names of Meta's DINOv3, and the shapes of a network as timm has it, which has no bias of queries and values."""
    shapes = named_shapes(PUBLISHED["dinov3_small_plus"])
    ours = placed("dinov3_small_plus") | {"encoder/norm/gamma": (384,), "encoder/norm/beta": (384,)}
    renames = {"gamma_": "ls{}.gamma", "fc1_g": "w1", "fc1_x": "w2", "fc2": "w3", "reg_token": "storage_tokens"}
    theirs = {}
    for name, shape in shapes.items():
        name = re.sub(r"gamma_(\d)", r"ls\1.gamma", name)
        for old, new in renames.items():
            name = name.replace(old, new)
        theirs[name] = shape
    tensors = tensors_of(
        theirs | {"mask_token": (1, 384), "local_cls_norm.weight": (384,), "rope_embed.periods": (16,)}
    )
    for index in range(12):
        tensors[f"blocks.{index}.attn.qkv.bias"] = Tensor((3 * 384,), lambda: bias)
        tensors[f"blocks.{index}.attn.qkv.bias_mask"] = Tensor((3 * 384,), lambda: np.full(3 * 384, np.nan))
    return tensors, ours


def test_dinov3_of_meta():
    """Its biases of queries and values are zero; that of keys is masked, whatever it holds."""
    bias = np.zeros((3, 384), np.float32)
    bias[1] = 0.3
    tensors, ours = dinov3(bias.reshape(-1))
    found = translate(tensors, ours, RATES)
    assert {path: tensor.shape for path, tensor in found.tensors.items()} == ours
    assert found.beside == {"mask_token": 1, "local_cls_norm": 1}
    value = found.tensors["encoder/blocks_3_mlp_fc1_x/kernel"].read()
    np.testing.assert_array_equal(value, draw.weight("blocks.3.mlp.w2.weight", (1536, 384)).T)


def test_a_bias_that_would_be_lost_is_not_left_out():
    bias = np.zeros(3 * 384, np.float32)
    bias[-1] = 1e-3
    tensors, ours = dinov3(bias)
    assert "encoder/blocks_0_attn_qkv/bias" in translate(tensors, ours, RATES).tensors


def test_swin_of_microsoft(tmp_path):
    """A stage ends with the merging of patches; the index and the mask of windows are no weights."""
    tensors = drawn(small.SWIN)
    file = {name.replace("layers.1.downsample", "layers.0.downsample"): value for name, value in tensors.items()}
    file |= {"head.weight": draw.weight("head.weight", (5, 16)), "layers.0.blocks.1.attn_mask": np.ones(4, np.float32)}
    file |= {"layers.0.blocks.0.attn.relative_position_index": np.zeros((4, 4), np.int64)}
    encoder, said = load("small_swin", file, tmp_path / "a.pth")
    assert said.endswith("not taken from the file: head (1)")
    assert difference(encoder(IMAGES)["stride8"], small.swin_features(tensors, whitened(IMAGES))) < 1e-5

    # Their networks for segmentation have a norm for each of the four stages.
    file = {re.sub("^norm", "norm3", name): value for name, value in file.items()}
    file |= {f"norm0.{leaf}": np.full(small.WIDTH, 0.5, np.float32) for leaf in ("weight", "bias")}
    encoder, said = load("small_swin", {f"backbone.{name}": value for name, value in file.items()}, tmp_path / "b.pth")
    assert "anew" not in said and f"all {len(tensors) + 2} tensors" in said
    assert difference(encoder(IMAGES)["stride8"], small.swin_features(tensors, whitened(IMAGES))) < 1e-5


def test_segformer_of_its_authors(tmp_path):
    """Stages count from 1; keys and values are one layer."""
    tensors = drawn(small.MIT)
    file = {}
    renames = (
        (r"^patch_embeddings\.0\.layer_norm", "patch_embed1.norm"),
        (r"^patch_embeddings\.0", "patch_embed1"),
        (r"^layer_norm\.0", "norm1"),
        (r"^block\.0\.0\.layer_norm_1", "block1.0.norm1"),
        (r"^block\.0\.0\.attention\.self\.query", "block1.0.attn.q"),
        (r"^block\.0\.0\.attention\.output\.dense", "block1.0.attn.proj"),
        (r"^block\.0\.0\.mlp", "block1.0.mlp"),
    )
    for name, value in tensors.items():
        for pattern, theirs in renames:
            name = re.sub(pattern, theirs, name)
        file[name] = value
    for leaf in ("weight", "bias"):
        parts = [file.pop(f"block.0.0.attention.self.{part}.{leaf}") for part in ("key", "value")]
        file[f"block1.0.attn.kv.{leaf}"] = np.concatenate(parts)
    encoder, said = load("small_mit", file | drawn({"head.weight": (5, 8)}), tmp_path / "a.pth")
    assert said.endswith("not taken from the file: head (1)")
    assert difference(encoder(IMAGES)["stride2"], small.mit_features(tensors, whitened(IMAGES))) < 1e-5


# === Images whitened otherwise ===


def test_a_patch_embedding_is_turned_to_other_whitening():
    """The features on images that are whitened as ImageNet's are those that the file has on its own."""
    mean, std = (109.65, 104.805, 75.48), (54.315, 39.78, 36.465)
    tensors = drawn(small.PLAIN)
    encoder = small.plain()
    variables = encoder.variables
    ours = {variable.path: tuple(variable.shape) for variable in variables}
    held = {name: Tensor(value.shape, lambda value=value: value) for name, value in tensors.items()}
    found = translate(held, ours, RATES)
    rewhiten(found, mean, std)
    said = str(match(variables, found, config("small_plain", "a"), "--model.encoder_weights=a", "a"))
    assert said.endswith("its patch embedding is turned to images whitened as ImageNet's")
    assert difference(encoder(IMAGES)["stride4"], small.plain_features(tensors, whitened(IMAGES, mean, std))) < 1e-5


def test_what_has_no_such_patch_embedding_is_left_as_it_is():
    found = Translation("", {"encoder/patch_embed_proj/kernel": Tensor((2, 2), lambda: np.zeros((2, 2)))})
    rewhiten(found, (0.0,) * 3, (1.0,) * 3)
    assert not found.notes


# === Files that do not fit ===


def refused(name: str, tensors, path, **options) -> str:
    encoder = small.BUILDERS[name](**options)
    message = common.refused(encoder, config(name, write(path, tensors)))
    assert "\n" not in message and len(message) < 600
    return message


def test_positions_of_another_grid(tmp_path):
    message = refused("small_plain", drawn(small.PLAIN | {"pos_embed": (1, 26, 8)}), tmp_path / "a.pth")
    assert "holds positions of 5x5 patches, the network those of 3x3, as published" in message
    assert "--model.encoder_weights=imagenet" in message


def test_tables_of_another_window(tmp_path):
    shape = {"layers.0.blocks.0.attn.relative_position_bias_table": (23**2, small.HEADS)}
    message = refused("small_swin", drawn(small.SWIN | shape), tmp_path / "a.pth")
    assert "holds position tables of windows of 12x12, the network those of 2x2" in message


def test_another_family(tmp_path):
    assert "small_plain" in refused("small_plain", drawn(small.SWIN), tmp_path / "a.pth")
    assert "layers_0" in refused("small_plain", drawn(small.SWIN), tmp_path / "b.pth")
    assert "block_0_0" in refused("small_swin", drawn(small.MIT), tmp_path / "c.pth")
    resnet = drawn({"layer1.0.conv1.weight": (64, 64, 3, 3), "bn1.weight": (64,)})
    assert "layer1_0_conv1" in refused("small_mit", resnet, tmp_path / "d.pth")


def test_registers_where_there_are_none(tmp_path):
    file = drawn(small.PLAIN | {"register_tokens": (1, 4, 8)})
    assert "encoder/reg_token/reg_token is not in the network" in refused("small_plain", file, tmp_path / "a.pth")
    file.pop("register_tokens")
    assert "encoder/reg_token/reg_token is missing" in refused("small_plain", file, tmp_path / "b.pth", registers=4)


@pytest.mark.parametrize("name", ["small_plain", "small_mit"])
def test_shapes_that_no_file_of_meta_has(name, tmp_path):
    strange = {"storage_tokens": (), "blocks.0.attn.qkv.bias": (), "blocks.0.ls1.gamma": (2, 2)}
    assert "does not fit" in refused(name, drawn(small.PLAIN | strange), tmp_path / "a.pth")


def test_two_names_for_one_tensor(tmp_path):
    file = drawn(small.PLAIN | {"blocks.0.1.norm1.bias": (8,)})
    assert "holds blocks.1.norm1.bias twice, by names of two" in refused("small_plain", file, tmp_path / "a.pth")
    file = drawn(small.PLAIN | {"register_tokens": (1, 4, 8), "reg_token": (1, 4, 8)})
    assert "holds reg_token twice" in refused("small_plain", file, tmp_path / "b.pth", registers=4)


@pytest.mark.parametrize(
    ("encoder", "other", "change"),
    [
        ("dinov2_small", "dinov2_small_reg", {}),
        ("dinov2_small_reg", "dinov2_small", {}),
        ("dinov2_small", "dinov2_base", {384: 768, 1152: 2304, 1536: 3072}),
        ("dinov2_small", "swin_tiny", {}),
        ("dinov2_small", "vit_base", {}),
        ("swin_tiny", "vit_base", {}),
        ("swin_tiny", "mit_b0", {}),
        ("mit_b0", "dinov3_small_plus", {}),
    ],
)
def test_another_size_or_family_is_named(encoder, other, change):
    """What a file is of is told by its shapes; nothing of it is read."""
    shapes = named_shapes(PUBLISHED.get(other, PUBLISHED[encoder]))
    shapes = {name: tuple(change.get(size, size) for size in shape) for name, shape in shapes.items()}

    def never():
        raise AssertionError("read")

    ours = placed(encoder)
    found = translate({name: Tensor(shape, never) for name, shape in shapes.items()}, ours, RATES)
    variables = [types.SimpleNamespace(path=path, shape=shape) for path, shape in ours.items()]
    settings = types.SimpleNamespace(encoder=encoder, squeeze_excitation=False)
    with pytest.raises(UsageError) as error:
        match(variables, found, settings, "--model.encoder_weights=a.pth", "a.pth")
    message = str(error.value)
    assert "\n" not in message and len(message) < 600
    assert re.search(f"; these (are|seem to be) of {other}[:,] ", message), message
    assert f"the weights of {encoder}" in message


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("pos_embed", (10, 8)),
        ("pos_embed", ()),
        ("pos_embed", (1, 1, 8)),
        ("cls_token", (8,)),
        ("register_tokens", ()),
        ("patch_embed.proj.weight", (8, 3, 4, 4, 1)),
        ("blocks.0.attn.qkv.weight", ()),
        ("blocks.0.norm1.weight", (8, 8)),
        ("norm.weight", (0,)),
    ],
)
def test_shapes_that_no_network_has(name, shape, tmp_path):
    file = small.PLAIN | {"register_tokens": (1, 4, 8)} | {name: shape}
    message = refused("small_plain", drawn(file), tmp_path / "a.pth", registers=4)
    assert "does not fit --model.encoder=small_plain: " in message or "holds positions of" in message


@pytest.mark.parametrize("shapes", [small.PLAIN, small.SWIN, small.MIT], ids=["plain", "swin", "mit"])
def test_whatever_names_and_shapes_a_file_has_it_is_translated_or_refused(shapes):
    """Names of several layouts in one file, and shapes of any length."""
    ours = {path: tensor.shape for path, tensor in translate(tensors_of(shapes), {}, RATES).tensors.items()}
    more = [
        "register_tokens",
        "storage_tokens",
        "reg_token",
        "norm0.weight",
        "norm3.weight",
        "head.weight",
        "mask_token",
    ]
    more += ["layers.0.downsample.reduction.weight", "block1.0.norm1.weight", "block1.0.attn.kv.bias", "norm1.bias"]
    more += ["blocks.0.1.norm1.weight", "blocks.0.attn.qkv_bias", "blocks.0.mlp.w1.weight", "weight", "norm", "", "."]
    random = np.random.default_rng(0)
    for _ in range(300):
        file = {name: shape for name, shape in shapes.items() if random.random() < 0.9}
        file |= {name: (1, 2, 8) for name in random.choice(more, 3)}
        for name in random.choice(list(file), 3):
            file[name] = tuple(int(size) for size in random.choice([0, 1, 2, 3, 8, 24], random.integers(0, 6)))
        with contextlib.suppress(UnreadableError):
            found = translate(tensors_of(file), ours, RATES)
            rewhiten(found, (0.0,) * 3, (1.0,) * 3)
            for path, tensor in found.tensors.items():
                if ours.get(path) == tensor.shape:
                    assert tensor.read().shape == tensor.shape


def test_small_encoders_keep_the_contract():
    for name in small.BUILDERS:
        assert build_encoder(name).name == "encoder"
