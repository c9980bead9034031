"""InvPT against the published module and its counts, at any size, precision and number of tasks."""

import json
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from mtl_tf.config import Config, ModelConfig, replace
from mtl_tf.errors import UsageError
from mtl_tf.models.architectures import ARCHITECTURES
from mtl_tf.models.costs import multiply_adds
from mtl_tf.models.decoder import build_raw
from mtl_tf.models.invpt import PoolStacked, TaskAttention, build_invpt
from tests.models.common import unfilled_variables
from tests.models.test_families import golden_of, image, network, shuffled, tasks_of

pytestmark = pytest.mark.slow

TINY = {"embed": 28, "extra": 4, "project": (8, 16, 24)}


class Pyramid(dict):
    """Features in the place of an encoder's, of an image."""

    config = ModelConfig()

    def __init__(self, image, features):
        super().__init__(features)
        self.image = image


class Named:
    """Of a task, what a decoder asks for."""

    def __init__(self, name, channels):
        self.name, self.channels = name, channels


# === The published module ===

PARTS = {"kernel": "weight", "gamma": "weight", "beta": "bias", "bias": "bias"}
PARTS |= {"moving_mean": "running_mean", "moving_variance": "running_var"}
PLACES = {  # path of a layer -> the published name, \1 being the task or the stage
    r"(\w+)/preliminary/conv([12])_conv": r"preliminary_decoder.\1.#\2.conv",
    r"(\w+)/preliminary/conv([12])_bn": r"preliminary_decoder.\1.#\2.bn1",
    r"(\w+)/head\.preliminary/conv": r"intermediate_head.\1",
    r"(\w+)/mix/\w+": r"invpt.mix_proj.\1.0",
    r"(\w+)/stage(\d)/\w+_conv1_conv": r"invpt.invpt_stages.\2.patch_embed.@\1.proj.1",
    r"(\w+)/stage(\d)/\w+_conv1_bn": r"invpt.invpt_stages.\2.patch_embed.@\1.proj.2",
    r"(\w+)/stage(\d)/\w+_conv2_conv": r"invpt.invpt_stages.\2.patch_embed.@\1.proj.4",
    r"(\w+)/stage(\d)/\w+_conv2_bn": r"invpt.invpt_stages.\2.patch_embed.@\1.proj.5",
    r"(\w+)/stage(\d)/\w+_query_conv": r"invpt.invpt_stages.\2.blocks.0.attn.conv_proj_q.@\1.conv",
    r"(\w+)/stage(\d)/\w+_query_bn": r"invpt.invpt_stages.\2.blocks.0.attn.conv_proj_q.@\1.bn",
    r"shared/stage1/encoded_conv": "scale_embed.1",
    r"shared/stage2/encoded_conv": "scale_embed.0",
    r"shared/stage(\d)/attention_norm": r"invpt.invpt_stages.\1.blocks.0.norm1",
    r"shared/stage(\d)/mlp_norm": r"invpt.invpt_stages.\1.blocks.0.norm2",
    r"shared/stage(\d)/mlp(\d)": r"invpt.invpt_stages.\1.blocks.0.mlp.fc\2",
    r"shared/stage(\d)/attended": r"invpt.invpt_stages.\1.blocks.0.attn.proj",
    r"shared/stage(\d)/attention": r"invpt.invpt_stages.\1.blocks.0.attn.fuse_attn",
    r"shared/stage(\d)/(query|key|value)": r"invpt.invpt_stages.\1.blocks.0.attn.proj_\2",
    r"shared/stage(\d)/joint_norm\d": r"invpt.norm_mts.\1",
    r"(\w+)/final/widen(\d)": r"invpt.redu_chan.\2.@\1",
    r"(\w+)/final/fuse_conv": r"invpt.mt_proj.\1.0",
    r"(\w+)/final/fuse_bn": r"invpt.mt_proj.\1.1",
}
ATTENTION = "invpt.invpt_stages.0.blocks.0.attn"
DEAD = [f"weight/{name}." for name in ("scale_embed.2", "invpt.redu_chan.0", f"{ATTENTION}.fuse_attn", "invpt.norm_mt")]
TASKS = ("semseg", "depth")


def published_name(path):
    """Of a variable."""
    layer, part = path.rsplit("/", 1)
    found = next(re.sub(here, there, layer) for here, there in PLACES.items() if re.fullmatch(here, layer))
    found = re.sub(r"@(\w+?)(?=\.|$)", lambda match: str(TASKS.index(match[1])), found)
    found = re.sub(r"#(\d)", lambda match: str(int(match[1]) - 1), found)
    return f"{re.sub('proj_(query|key|value)', lambda match: f'proj_{match[1][0]}', found)}.{PARTS[part]}"


def as_ours(value, path, shape):
    """A published weight; the transposed convolution as a convolution of the feature with zeros in between."""
    if value.ndim == 4:
        if path.startswith("shared/stage2/encoded_conv"):
            value = value.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1]
        value = value.transpose(2, 3, 0, 1) if "query_conv" in path else value.transpose(2, 3, 1, 0)
    elif value.ndim == 2:
        value = value.T
    return value.reshape(shape)


def test_the_decoder_is_the_published_one(shared):
    with np.load(shared / "goldens" / "modules.npz") as modules:
        golden = golden_of(modules, "invpt_decoder")
    inputs = {name: keras.Input((None, None, 10), name=name) for name in ("stride8", "stride16", "last")}
    inputs["image"] = keras.Input((None, None, 3), name="image")
    pyramid = Pyramid(inputs["image"], {name: each for name, each in inputs.items() if name != "image"})
    final, preliminary = build_invpt([Named("semseg", 5), Named("depth", 1)], pyramid, 12, 4)
    outputs = final | {f"preliminary_{name}": raw.tensor for name, raw in preliminary.items()}
    model = keras.Model(inputs, outputs)
    used = set()
    for variable in model.variables:
        name = f"weight/{published_name(variable.path)}"
        variable.assign(as_ours(golden[name], variable.path, variable.shape))
        used.add(name.removeprefix("weight/"))
    unused = {key.removeprefix("weight/") for key in golden if key.startswith("weight/")} - used
    assert unused == {key.removeprefix("weight/") for key in golden if key.startswith(tuple(DEAD))}
    first, second, _, last = (golden[f"in/feature{n}"].reshape(1, 8, 16, 10) for n in range(4))
    spread = np.zeros((1, 16, 32, 10), np.float32)
    spread[:, ::2, ::2] = first
    blank = np.zeros((1, 128, 256, 3), np.float32)
    found = model({"stride8": spread, "stride16": second, "last": last, "image": blank})
    for task in TASKS:
        for name, key in ((task, f"task_{task}"), (f"preliminary_{task}", f"preliminary_{task}")):
            expected = golden[f"out/{key}"]
            np.testing.assert_allclose(
                tf.transpose(found[name], (0, 3, 1, 2)), expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max()
            )


# === Counts ===

NYUD = {"semseg": 40, "depth": 1, "normals": 3, "edge": 1}
PASCAL = {"semseg": 21, "human_parts": 7, "saliency": 2, "normals": 3, "edge": 1}


def network_on(strides, channels, embed, extra):
    """The decoder and heads on features that cost nothing: {name: (stride, channels)}."""
    image = keras.Input((None, None, 3))

    def feature(stride, width):
        def of_image(x):
            return keras.ops.repeat(x[:, ::stride, ::stride, :1], width, axis=-1)

        return keras.layers.Lambda(of_image)(image)

    tasks = [Named(name, count) for name, count in channels.items()]
    features = {name: feature(*given) for name, given in strides.items()}
    final, preliminary = build_invpt(tasks, Pyramid(image, features), embed, extra)
    raws = [build_raw(task, final[task.name]) for task in tasks]
    return keras.Model(image, [*raws, *(raw.tensor for raw in preliminary.values())])


def parameters(model):
    return sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)


@pytest.mark.parametrize(
    ("build", "tasks", "width", "embed", "size"),
    [
        ("vitL/nyud4", NYUD, 1024, 512, (448, 576)),
        ("vitB_emb384/nyud4", NYUD, 768, 384, (448, 576)),
        ("vitL/nyud2", {"semseg": 40, "depth": 1}, 1024, 512, (448, 576)),
        ("vitL/pascal5", PASCAL, 1024, 512, (512, 512)),
    ],
)
def test_counts_are_the_published_ones_without_what_is_dead(build, tasks, width, embed, size, shared):
    golden = json.loads((shared / "goldens" / "parameters.json").read_text())["invpt"]["counts"]
    golden, first, count = golden[f"invpt_decoder+heads/{build}"], embed + 64, len(tasks)
    scale_embed = 9 * width * first + first
    dead = scale_embed + count * (first**2 + first) + 10 + 2 * count * first // 4
    if build == "vitL/nyud4":
        assert dead == 6_639_562
    with unfilled_variables():
        model = network_on({"stride16": (16, width), "last": (16, width)}, tasks, embed, 64)
        assert parameters(model) == golden["params"] - dead
        # The published code computes scale_embed, which nothing takes, on all of the encoder's grid.
        billions = (multiply_adds(model, size) + 9 * width * first * size[0] * size[1] // 16**2) / 1e9
    assert billions == pytest.approx(golden[f"gmacs_{size[0]}x{size[1]}"], abs=6e-4)


@pytest.mark.parametrize(("embed", "parameters_of_all", "of_dead"), [(128, 8.32, 0.79), (256, 13.50, 1.49)])
def test_the_small_build_has_the_published_count(embed, parameters_of_all, of_dead):
    features = {"stride8": (8, 128), "stride16": (16, 256), "last": (32, 512)}
    with unfilled_variables():
        model = network_on(features, {"semseg": 19, "depth": 1}, embed, 32)
    assert parameters(model) / 1e6 == pytest.approx(parameters_of_all - of_dead, abs=0.01)


# === Multiply-adds of attention ===


def test_attention_counts_its_products():
    """4 x 6 queries and 2 x 3 keys of each of 3 tasks, 8 channels: two products; with earlier scores a 4 x 2 one."""
    queries, keys = (1, 4, 6, 3, 8), (1, 2, 3, 3, 8)
    layer, pairs = TaskAttention(2), 4 * 6 * 3 * 2 * 3 * 3
    assert layer.multiply_adds(queries, keys, keys) == pairs * 16
    assert layer.multiply_adds(queries, keys, keys, (1, 4, 6, 3, 2, 18)) == pairs * (16 + 8)


def test_attention_is_that_over_all_tokens_by_its_definition():
    random = np.random.default_rng(0)
    q, k, v = (random.normal(size=(2, height, 3, 2, 8)).astype(np.float32) for height in (4, 2, 2))
    earlier = random.normal(size=(2, 4, 3, 2, 2, 12)).astype(np.float32)
    layer = TaskAttention(2)
    attended, scores = layer([q, k, v, earlier])
    kernel, bias = (np.asarray(variable) for variable in (layer.kernel, layer.bias))
    queries, keys, values = (each.reshape(2, -1, 2, 4) for each in (q, k, v))
    own = np.stack([queries[:, :, h] @ keys[:, :, h].swapaxes(1, 2) for h in range(2)], 2) * 8**-0.5
    fused = np.concatenate([own, earlier.reshape(2, 24, 2, 12)], 2)
    fused = np.stack([(fused * kernel[:, h, None]).sum(2) + bias[h] for h in range(2)], 2)
    shares = np.exp(fused) / np.exp(fused).sum(-1, keepdims=True)
    expected = np.concatenate([shares[:, :, h] @ values[:, :, h] for h in range(2)], -1)
    np.testing.assert_allclose(scores, fused.reshape(scores.shape), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(attended, expected.reshape(q.shape), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [2, 4, 8])
def test_pooling_averages_what_is_there(size):
    maps = np.random.default_rng(0).normal(size=(2, 9, 5, 2, 3)).astype(np.float32)
    found = PoolStacked(size)(maps)
    rows, columns = (range(0, side, size) for side in (9, 5))
    expected = [[maps[:, i : i + size, j : j + size].mean((1, 2)) for j in columns] for i in rows]
    np.testing.assert_allclose(found, np.array(expected).transpose(2, 0, 1, 3, 4), rtol=1e-5, atol=1e-6)
    assert PoolStacked(size).compute_output_shape(maps.shape) == found.shape


# === The network ===


def test_a_single_task_attends_to_itself():
    model = network("invpt", tasks_of(1), TINY)
    assert model(image(70, 97))["task0"].shape == (2, 70, 97, 19)


@pytest.mark.parametrize("dilation", [(0, 0, 0), (0, 1, 1)])
def test_stages_stand_at_their_strides_at_any_dilation(dilation):
    """And of any size, in one graph for all: grids are those of the image, rounded up."""
    model = shuffled(network("invpt", tasks_of(2), TINY, dilation=dilation))
    graph = tf.function(model, input_signature=[tf.TensorSpec((None, None, None, 3))])
    for height, width in ((33, 65), (100, 31)):
        outputs = graph(image(height, width))
        assert outputs["task1"].shape == (2, height, width, 1) and np.isfinite(outputs["task1"]).all()
    names = ["stage0", "stage1", "stage2", "task0_final"]
    tensors = [model.get_layer(name)._inbound_nodes[-1].output_tensors[0] for name in names]
    spec = keras.Model(model.input, tensors).compute_output_spec(keras.KerasTensor((1, 100, 70, 3)))
    assert [each.shape[1:3] for each in spec] == [(4, 3), (7, 5), (13, 9), (25, 18)]


def test_sixteen_bits_answer_nearly_the_same():
    model = shuffled(network("invpt", tasks_of(2), TINY))
    expected = model(image(70, 97))
    keras.config.set_dtype_policy("mixed_bfloat16")
    rounded = network("invpt", tasks_of(2), TINY)
    for variable, value in zip(rounded.variables, model.variables, strict=True):
        variable.assign(value)
    for name, found in rounded(image(70, 97)).items():
        assert found.dtype == tf.float32
        assert np.abs(found - expected[name]).max() < 0.05 * np.abs(expected[name]).max()


def test_a_large_score_overflows_no_sixteen_bits():
    layer = TaskAttention(2, dtype="mixed_float16")
    large = np.full((1, 2, 2, 2, 64), 100.0, np.float16)
    attended, _ = layer([large, large, large])
    np.testing.assert_allclose(attended, large, rtol=1e-2)


def test_recomputation_changes_no_answer_and_no_gradient():
    kept, again = (shuffled(network("invpt", tasks_of(2), TINY, recompute=r)) for r in (False, True))
    found = []
    for model in (kept, again):
        with tf.GradientTape() as tape:
            outputs = model(image(64, 96), training=True)
            loss = tf.add_n([tf.reduce_mean(tf.square(output)) for output in outputs.values()])
        by_path = {variable.path: variable.value for variable in model.trainable_variables}
        found.append((outputs, dict(zip(by_path, tape.gradient(loss, list(by_path.values())), strict=True))))
    for name, expected in found[0][0].items():
        np.testing.assert_allclose(found[1][0][name], expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
    largest = max(np.abs(gradient).max() for gradient in found[0][1].values())
    for path, expected in found[0][1].items():
        np.testing.assert_allclose(found[1][1][path], expected, rtol=1e-3, atol=1e-5 * largest, err_msg=path)


def test_a_saved_network_is_the_same(tmp_path):
    model = shuffled(network("invpt", tasks_of(2), TINY))
    model.save(tmp_path / "network.keras")
    found, expected = keras.models.load_model(tmp_path / "network.keras")(image(70, 97)), model(image(70, 97))
    for name, each in expected.items():
        np.testing.assert_allclose(found[name], each, rtol=1e-5, atol=1e-5 * np.abs(each).max())


# === Options ===


def test_a_size_says_what_was_not_given():
    kind = ARCHITECTURES["invpt"].Options
    assert kind().widths == (512, 64, ()) and kind(size="small").widths == (128, 32, (128, 256, 512))
    assert kind(size="small", embed=256, extra=0, project=(8, 16, 24)).widths == (256, 0, (8, 16, 24))


def test_a_width_that_cannot_be_parted_is_refused():
    with pytest.raises(UsageError, match=r"embed \+ arch\.invpt\.extra must be a multiple of 8.*100 \+ 64"):
        replace(Config(), model__architecture="invpt", arch__invpt__embed=100)


def test_the_loss_of_the_preliminary_predictions_has_its_weight():
    model = network("invpt", tasks_of(2), TINY | {"preliminary_weight": 0.25})
    assert model.label_weights == {"@preliminary": 0.25, "": 1.0}
