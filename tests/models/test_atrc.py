"""ATRC: modules and counts of the published implementation, contexts by pairs, attention to neighbours."""

import collections
import dataclasses
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from mtl_tf.config import Config, ModelConfig, replace
from mtl_tf.errors import UsageError
from mtl_tf.models import build_model
from mtl_tf.models.architectures import ARCHITECTURES
from mtl_tf.models.architectures.atrc import build, kinds_of
from mtl_tf.models.contexts import RegionVectors, build_context
from mtl_tf.models.costs import multiply_adds
from mtl_tf.models.folding import fold
from mtl_tf.models.layers import SpatialDropout
from mtl_tf.models.local_attention import WINDOW, LocalAttention
from mtl_tf.tasks import cityscapes_tasks
from mtl_tf.tasks.edges import Edges
from mtl_tf.tasks.instances import Instances
from mtl_tf.tasks.normals import Normals
from tests.models.common import pictures, randomise, unfilled_variables

pytestmark = pytest.mark.slow

SEMSEG, DEPTH = cityscapes_tasks()
NYUD = (
    dataclasses.replace(SEMSEG, classes=tuple(map(str, range(40))), palette=((0, 0, 0),) * 40),
    DEPTH,
    Normals(),
    Edges(),
)
Options = ARCHITECTURES["atrc"].Options


def network(contexts, architecture="atrc", tasks=(SEMSEG, DEPTH), **options):
    keras.utils.set_random_seed(1)
    given = Options(contexts=contexts, **options) if architecture == "atrc" else contexts
    return build_model(ModelConfig(architecture=architecture, encoder="resnet18"), tasks, given)


# === Published modules and counts ===


@pytest.mark.parametrize("kind", ["global", "t-label", "s-label"])
def test_a_context_is_the_published_one(shared, kind):
    with np.load(shared / "goldens" / "modules.npz") as file:
        prefix = f"atrc_{kind.replace('-', '')}/"
        golden = {key.removeprefix(prefix): file[key] for key in file.files if key.startswith(prefix)}
    inputs = {name.split("/")[1]: value.transpose(0, 2, 3, 1) for name, value in golden.items() if name[:3] == "in/"}
    target, source = inputs["target_task_feats"], inputs["source_task_feats"]
    if kind != "global":
        logits = inputs["target_aux_logits" if kind == "t-label" else "source_aux_logits"]
        source = RegionVectors()(logits, source)
    model = build_context(kind, 6, "a/context/b")
    of_part = {
        "kernel": "weight",
        "gamma": "weight",
        "beta": "bias",
        "moving_mean": "running_mean",
        "moving_variance": "running_var",
    }
    for variable in model.variables:
        *_, layer, part = variable.path.split("/")
        name, where = layer.split("_")
        number = f".{int(name[-1]) - 1}" if name[-1].isdigit() else ""
        value = golden[f"weight/{name.rstrip('12')}_project{number}.{where}.{of_part[part]}"]
        variable.assign(value.transpose(2, 3, 1, 0) if part == "kernel" else value)
    expected = golden["out/y"].transpose(0, 2, 3, 1)
    found = model([tf.constant(target), tf.constant(source)])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


PARAMETERS = {  # after the encoder; goldens/parameters.json, NYUD 4
    (18, "none"): 654_836,
    (18, "global"): 873_452,
    (18, "t-label"): 1_200_274,
    (18, "s-label"): 1_200_274,
    (18, "TTSS,STSS,STTS,TTGT"): 1_200_274,
    (48, "none"): 4_675_185,
    (48, "global"): 6_247_665,
    (48, "s-label"): 8_414_987,
    (48, "T--S,SGGS,SGGS,TTTT"): 7_153_827,
}
BILLIONS = {  # of multiply-adds, encoder included
    (18, "none"): 17.475,
    (18, "global"): 21.185,
    (18, "t-label"): 25.171,
    (18, "s-label"): 25.171,
    (18, "TTSS,STSS,STTS,TTGT"): 25.055,
    (48, "none"): 148.523,
    (48, "global"): 175.724,
    (48, "s-label"): 197.143,
    (48, "T--S,SGGS,SGGS,TTTT"): 181.015,
}


class Pyramid(dict):
    """Features of the shapes of an HRNet's in the place of a backbone, which have neither weights nor costs."""

    config = ModelConfig()

    def __init__(self, image, width, options):
        super().__init__()
        self.options = options
        for number, stride in enumerate((4, 8, 16, 32)):
            pooled = keras.layers.AveragePooling2D(stride, padding="same")(image)
            self[f"stride{stride}"] = keras.layers.Concatenate()([pooled] * (width * 2**number // 3))
        self["last"] = self["stride32"]


def decoder(contexts, tasks=NYUD, width=3):
    """What stands behind the encoder: a model from an image, and its outputs by label and task."""
    image = keras.Input((None, None, 3))
    pyramid = Pyramid(image, width, Options(contexts=contexts))
    with unfilled_variables():
        found = build(pyramid.config, tasks, pyramid)
    return keras.Model(image, [raw.tensor for by_task in found.values() for raw in by_task.values()]), found


def costs(width, contexts):
    """Trainable parameters, and billions of multiply-adds at 425x560, of what stands behind the encoder."""
    model, _ = decoder(contexts, width=width)
    parameters = sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)
    return parameters, multiply_adds(model, (425, 560)) / 1e9


@pytest.mark.parametrize(("width", "contexts"), [key for key in PARAMETERS if key[1] != "none"])
def test_parameters_and_multiply_adds_are_the_published_ones(width, contexts):
    (without, plain), (parameters, billions) = costs(width, "none"), costs(width, contexts)
    assert (without, parameters) == (PARAMETERS[width, "none"], PARAMETERS[width, contexts])
    published = BILLIONS[width, contexts] - BILLIONS[width, "none"]
    assert billions - plain == pytest.approx(published - repeated(width, contexts), abs=1e-3)


def repeated(width, contexts):
    """Billions that the published implementation does again: the vectors of one task at regions of one task."""
    kinds = kinds_of(Options(contexts=contexts).contexts, [task.name for task in NYUD])
    dividers = {"t-label": 0, "s-label": 1}
    pairs = [(pair[dividers[kind]], pair[1]) for pair, kind in kinds.items() if kind in dividers]
    classes = {task.name: task.regions.channels for task in NYUD}
    again = collections.Counter(pairs) - collections.Counter(set(pairs))
    return sum(classes[divider] * count for (divider, _), count in again.items()) * 107 * 140 * (width * 15 // 4) / 1e9


# === Attention to neighbours ===


def by_neighbours(query, key, value):
    """By its definition, in float64."""
    query, key, value = (np.asarray(each, np.float64) for each in (query, key, value))
    margin = WINDOW // 2
    around = ((0, 0), (margin, margin), (margin, margin), (0, 0))
    key, value, found = np.pad(key, around), np.pad(value, around), np.zeros_like(query)
    for image, row, column in np.ndindex(query.shape[:3]):
        window = image, slice(row, row + WINDOW), slice(column, column + WINDOW)
        scores = np.exp(key[window] @ query[image, row, column] / query.shape[-1] ** 0.5)
        found[image, row, column] = np.einsum("ij,ijd->d", scores / scores.sum(), value[window])
    return found


def three(height=6, width=11, seed=0):
    return [each.astype(np.float32) for each in np.random.default_rng(seed).normal(size=(3, 2, height, width, 3))]


@pytest.mark.parametrize("compiled", [False, True])
def test_attention_to_neighbours(compiled):
    unknown = [tf.TensorSpec((None, None, None, 3))] * 3
    layer = tf.function(LocalAttention(), input_signature=unknown, jit_compile=compiled)
    for size in ((6, 11), (10, 1)):
        np.testing.assert_allclose(layer(*three(*size)), by_neighbours(*three(*size)), rtol=1e-4, atol=1e-5)


def test_gradients_of_attention_to_neighbours():
    given, layer = [tf.constant(each) for each in three()], LocalAttention()
    direction = np.random.default_rng(1).normal(size=given[0].shape)

    def all_at_once(query, key, value):
        def windows(feature):
            margin = WINDOW // 2
            padded = tf.pad(feature, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
            sides = [1, WINDOW, WINDOW, 1]
            patches = tf.image.extract_patches(padded, sides, [1] * 4, [1] * 4, "VALID")
            return tf.reshape(patches, (*query.shape[:3], WINDOW**2, 3))

        weights = tf.nn.softmax(tf.einsum("bhwd,bhwnd->bhwn", query, windows(key)) * 3**-0.5)
        return tf.einsum("bhwn,bhwnd->bhwd", weights, windows(value))

    def gradients(attention):
        with tf.GradientTape() as tape:
            tape.watch(given)
            total = tf.reduce_sum(attention(*given) * direction)
        return tape.gradient(total, given)

    for found, expected in zip(gradients(layer), gradients(all_at_once), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


# === Contexts by pairs ===


def test_a_row_of_letters_for_each_target():
    assert kinds_of(("TS", "-G"), ["a", "b"]) == {
        ("a", "a"): "t-label",
        ("a", "b"): "s-label",
        ("b", "a"): "none",
        ("b", "b"): "global",
    }


@pytest.mark.parametrize("contexts", ["TS", "TSS,TSS", "TS,TX", "ts,ts", "labels", "s-label,s-label", ""])
def test_other_contexts_are_refused_in_one_line(contexts):
    expected = (
        rf"^arch\.atrc\.contexts={contexts}: expected one of t-label, s-label, global, local, none, or 2 rows with "
        r"commas of 2 letters T, S, G, L, -: a row for each target, .* in the order semseg, depth$"
    )
    with pytest.raises(UsageError, match=expected):
        decoder(tuple(contexts.split(",")) if contexts else (), (SEMSEG, DEPTH))


def test_a_task_without_regions_is_refused_where_they_are_needed():
    tasks = (SEMSEG, Instances())
    for contexts in ("s-label", "t-label", "GS,GG", "GG,TG"):
        expected = rf"^arch\.atrc\.contexts={contexts}: task instances divides a picture into no regions; .*"
        with pytest.raises(UsageError, match=expected):
            decoder(contexts, tasks)
    assert set(decoder("SG,SL", tasks)[1]["@regions"]) == {"semseg"}


def test_regions_are_learnt_where_a_context_needs_them():
    def learnt(contexts):
        return set(decoder(contexts, (SEMSEG, DEPTH))[1].get("@regions", ()))

    assert learnt("s-label") == {"semseg", "depth"}
    assert learnt("GS,GS") == {"depth"} and learnt("TL,LG") == {"semseg"}
    assert not learnt("global") and not learnt("none")


def test_regions_have_a_weight():
    config = replace(Config(), model__architecture="atrc", model__encoder="resnet18", arch__atrc__regions_weight=0.3)
    with unfilled_variables():
        model = build_model(config.model, (SEMSEG, DEPTH), config.arch_options)
    assert model.label_weights == {"": 1.0, "@regions": 0.3}
    assert model.output["depth@regions"].shape[-1] == 40
    for variable in model.variables:
        assert re.fullmatch(r"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*", variable.path)  # as a SavedModel takes it


def test_regions_do_not_shape_the_encoder():
    model = network("s-label")
    with tf.GradientTape() as tape:
        outputs = model(pictures(2, 48, 64), training=True)
        total = tf.add_n([tf.reduce_sum(tf.square(outputs[f"{name}@regions"])) for name in ("semseg", "depth")])
    gradients = tape.gradient(total, model.trainable_variables)
    reached = {v.path.split("/")[1] for v, g in zip(model.trainable_variables, gradients, strict=True) if g is not None}
    assert reached == {"regions", "head.regions"}


@pytest.fixture
def small():
    """Every kind of context on features of few channels, from an image to answers and regions."""
    image = keras.Input((None, None, 3))
    pyramid = Pyramid(image, 3, Options(contexts="LG,TS", dropout=0.0))
    found = build(pyramid.config, (SEMSEG, DEPTH), pyramid)
    model = keras.Model(image, [raw.tensor for by_task in found.values() for raw in by_task.values()])
    randomise(model)
    return model


def test_every_weight_of_every_kind_of_context_has_a_gradient(small):
    with tf.GradientTape() as tape:
        outputs = small(pictures(2, 45, 70) / 255, training=True)
        total = tf.add_n([tf.reduce_sum(tf.square(output)) for output in outputs])
    gradients = tape.gradient(total, [variable.value for variable in small.trainable_variables])
    assert all(g is not None and np.any(g) for g in gradients)


def test_batch_norms_are_folded(small):
    images = tf.constant(pictures(2, 45, 70) / 255)
    for found, expected in zip(fold(small)(images), small(images), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("shape", [(None, None, None, 3), (None, 45, 70, 3), (2, None, 70, 3)])
def test_sizes_may_be_unknown(small, shape):
    images = tf.constant(pictures(2, 45, 70) / 255)
    traced = tf.function(small, input_signature=[tf.TensorSpec(shape)])
    for found, expected in zip(traced(images), small(images), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_contexts_add_nothing_in_the_beginning():
    model = network("SG,LT")
    before = model(pictures(2, 48, 64))
    for variable in model.trainable_variables:
        if "/context/" in variable.path:
            variable.assign(2 * variable + 0.1)
    for name, found in model(pictures(2, 48, 64)).items():
        np.testing.assert_array_equal(found, before[name])


def test_without_contexts_it_is_hard_sharing_with_fcn_heads():
    one, other = network("none"), network(ARCHITECTURES["hps"].Options(head="fcn"), "hps")
    values = {variable.path: variable for variable in one.variables}
    assert set(values) == {variable.path for variable in other.variables}
    for variable in other.variables:
        variable.assign(values[variable.path])
    for name, found in one(pictures(2, 48, 64)).items():
        np.testing.assert_allclose(found, other(pictures(2, 48, 64))[name], rtol=1e-5, atol=1e-6)
    for task in (SEMSEG, DEPTH):
        assert np.std(values[f"{task.name}/head/conv/kernel"]) == pytest.approx(0.01, rel=0.2)
        assert not np.any(values[f"{task.name}/head/conv/bias"])


def test_whole_channels_are_left_out():
    ones = np.ones((3, 4, 5, 200), np.float32)
    layer = SpatialDropout(0.25)
    found = layer(ones, training=True).numpy()
    np.testing.assert_array_equal(found, np.broadcast_to(found[:, :1, :1], found.shape))
    assert set(np.unique(found)) == {np.float32(0), np.float32(1 / 0.75)} and 0.15 < np.mean(found == 0) < 0.35
    assert np.any(found[0] != found[1])
    np.testing.assert_array_equal(layer(ones), ones)
