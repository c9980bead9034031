"""Fine-tuning of transformers: low-rank adapters, what stays as it is, and a rate of its own for every block."""

import keras
import numpy as np
import pytest

import mtl_tf
from mtl_tf.config import ModelConfig, OptimConfig, replace
from mtl_tf.errors import UsageError
from mtl_tf.inference.answering import AnswerModule
from mtl_tf.inference.runs import open_run
from mtl_tf.models import build_model
from mtl_tf.models.encoder_layers import ADAPTER_NAME, encoder_stages, own_part
from mtl_tf.models.encoders import build_encoder, encoder_of
from mtl_tf.models.folding import fold
from mtl_tf.models.projections import Adapter, merged_kernel
from mtl_tf.models.weights import load_encoder_weights, load_pretrained
from mtl_tf.tasks import cityscapes_tasks
from mtl_tf.training.checkpoints import save_weights
from mtl_tf.training.optimisers import rate_factors_of
from mtl_tf.training.trained_run import read_configuration
from tests.helpers import ROOT, TINY, in_this_process, one_line_error, write_dataset
from tests.models.common import difference, pictures, randomise
from tests.models.tiny_transformers import BUILDERS

PLUGIN = f"--plugin={ROOT / 'tests/models/tiny_transformers.py'}"


def config(kind, **options):
    return ModelConfig(**{"encoder": kind, "dilation": (0, 0, 0), "lora_rank": 2, **options})


@pytest.mark.parametrize("kind", BUILDERS)
def test_adapters_begin_without_effect_and_are_all_that_is_trained(kind):
    encoder, plain = encoder_of(config(kind)), encoder_of(config(kind, lora_rank=0))
    randomise(plain)
    values = {variable.path: variable for variable in plain.variables}
    for variable in encoder.variables:
        if variable.path in values:
            variable.assign(values[variable.path])
    images = pictures(1, 40, 56)
    for key, expected in plain(images).items():
        np.testing.assert_array_equal(encoder(images)[key], expected)
    trained = {variable.path for variable in encoder.trainable_variables}
    assert trained == {variable.path for variable in encoder.variables if own_part(variable.path)}
    adapters = [variable for variable in encoder.trainable_variables if own_part(variable.path) == ADAPTER_NAME]
    projections = {"tiny_vit": 4 * 2, "tiny_swin": 8 * 2, "tiny_mit": 8 * 4}[kind]
    assert len(adapters) == 2 * projections and {min(variable.shape) for variable in adapters} == {2}


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("kind", BUILDERS)
def test_an_export_has_them_merged(kind, policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = build_model(config(kind), cityscapes_tasks())
    finally:
        keras.config.set_dtype_policy("float32")
    randomise(model)
    folded, images = fold(model), pictures(1, 33, 50)
    assert not [weight.path for weight in folded.weights if own_part(weight.path.partition("/")[2]) == ADAPTER_NAME]
    assert not [layer.name for layer in folded.get_layer("encoder").layers if "_lora" in layer.name]
    for key, expected in model(images).items():
        assert difference(folded(images)[key], expected) < (1e-5 if policy == "float32" else 0.05), key


def test_their_formula():
    """x (w + down up) of hand-made numbers."""
    adapter = Adapter(2, 1)
    x = np.array([[[1.0, 2.0, 3.0]]], np.float32)
    adapter.build(x.shape)
    assert not adapter(x).numpy().any()
    adapter.set_weights([np.array([[1.0], [0.0], [2.0]]), np.array([[0.5, -1.0]])])
    np.testing.assert_array_equal(adapter(x), [[[3.5, -7.0]]])
    kernel = np.arange(6.0).reshape(3, 2)
    np.testing.assert_array_equal(merged_kernel(kernel, *adapter.get_weights()), [[0.5, 0.0], [2.0, 3.0], [5.0, 3.0]])
    assert adapter.multiply_adds((1, 4, 3)) == 4 * (3 + 2)


@pytest.mark.parametrize("kind", BUILDERS)
def test_weights_with_adapters_go_into_an_encoder_without(kind, tmp_path):
    encoder, plain = encoder_of(config(kind)), encoder_of(config(kind, lora_rank=0))
    randomise(encoder)
    save_weights(encoder, tmp_path / "adapted.weights.h5")
    source = str(tmp_path / "adapted.weights.h5")
    said = load_encoder_weights(plain, config(kind, lora_rank=0, encoder_weights=source))
    assert f"all {len(plain.variables)} tensors" in said and "anew" not in said
    images = pictures(1, 33, 50)
    for key, expected in encoder(images).items():
        assert difference(plain(images)[key], expected) < 1e-5, key
    again = encoder_of(config(kind))
    load_encoder_weights(again, config(kind, encoder_weights=source))
    for one, other in zip(again.variables, encoder.variables, strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(UsageError, match=r"shape|is \(\d+, 2\), expected \(\d+, 3\)"):
        wide = config(kind, lora_rank=3, encoder_weights=source)
        load_encoder_weights(encoder_of(wide), wide)


# === In a run ===


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data") / "data", {"train": 4, "val": 2})


def train(data, run, *options):
    given = (*TINY, PLUGIN, "--model.encoder=tiny_vit", "--model.dilation=0,0,0", f"--data.root={data}")
    return in_this_process("train", *given, f"--run_dir={run}", *options)


@pytest.fixture(scope="module")
def runs(data, tmp_path_factory):
    """A run, and one that adapts it."""
    folder = tmp_path_factory.mktemp("runs")
    assert train(data, folder / "first").returncode == 0
    adapted = train(data, folder / "adapted", "--model.lora_rank=2", f"--model.encoder_weights={folder / 'first'}")
    assert adapted.returncode == 0, adapted.stderr
    assert "low-rank adapters start anew" in adapted.stdout
    return folder


def opened(run):
    return open_run(replace(read_configuration(run), run_dir=str(run)))


@pytest.mark.slow
def test_a_run_changes_adapters_pyramid_and_decoder_alone(runs):
    before, after = (
        {variable.path: variable.numpy() for variable in opened(runs / name).model.variables}
        for name in ("first", "adapted")
    )
    encoder = {path for path in before if path.startswith("encoder/")}
    stayed = {path for path in encoder if np.array_equal(before[path], after[path])}
    unused = {"encoder/pyramid_stride8_up/bias"}  # of a feature that this decoder does not take
    assert stayed - unused == {path for path in encoder if not own_part(path)}
    ups = [value for path, value in after.items() if path.endswith("_lora/up")]
    assert len(ups) == 8 and all(value.any() for value in ups)


@pytest.mark.slow
def test_its_export_answers_as_the_run_does(runs):
    run = opened(runs / "adapted")
    assert in_this_process("export", f"--run_dir={runs / 'adapted'}").returncode == 0
    answers = AnswerModule(run.model, run.tasks, run.config.data.image_size, run.config.data.fit)
    picture = pictures(1, 40, 56)[0].astype(np.uint8)
    found, expected = mtl_tf.load(runs / "adapted" / "export")(picture), answers.fit(picture[None])
    np.testing.assert_allclose(found["depth"], expected["depth"][0], rtol=1e-4)


def test_adapters_of_random_weights_are_refused(data, tmp_path):
    done = train(data, tmp_path / "run", "--model.lora_rank=2")
    assert "--model.lora_rank=2 adapts an encoder that is trained" in one_line_error(done.returncode, done.stderr)
    with pytest.raises(UsageError, match="lora_rank"):
        load_pretrained(build_model(config("tiny_vit"), cityscapes_tasks()), config("tiny_vit"))


def test_encoders_without_attention_refuse_them():
    with pytest.raises(UsageError, match=r"lora_rank=4 is not defined for model\.encoder=resnet18; leave it out"):
        build_encoder("resnet18", lora_rank=4)


# === Rates by block ===


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize(("kind", "blocks"), [("tiny_vit", 4), ("tiny_swin", 8), ("tiny_mit", 8)])
def test_every_block_has_a_rate(kind, blocks, recompute):
    """The embedding comes first, what starts anew last; from each to the one before the rate halves."""
    model = build_model(config(kind, lora_rank=0, recompute=recompute), cityscapes_tasks())
    stages = encoder_stages(model)
    assert set(stages) == {v.path for v in model.trainable_variables if v.path.startswith("encoder/")}
    assert set(stages.values()) == set(range(blocks + 2))
    for path, stage in stages.items():
        layer = path.split("/")[1]
        if own_part(path) or layer == "norm":
            assert stage == blocks + 1, path
        elif layer.startswith(("patch_embed_", "patch_embeddings_0", "cls_token", "pos_embed")):
            assert stage == 0, path
    numbers = {"tiny_vit": "blocks_{0}_", "tiny_swin": "layers_{1}_blocks_{2}_", "tiny_mit": "block_{1}_{2}_"}[kind]
    norm = "layer_norm_1/gamma" if kind == "tiny_mit" else "norm1/gamma"
    for block in range(blocks):
        prefix = "encoder/" + numbers.format(block, block // 2, block % 2)
        assert {stage for path, stage in stages.items() if path.startswith(prefix)} == {block + 1}
    factors = rate_factors_of(OptimConfig(layer_decay=0.5, encoder_rate=0.1), model)
    by_path = dict(zip((v.path for v in model.trainable_variables), factors, strict=True))
    assert by_path["encoder/" + numbers.format(0, 0, 0) + norm] == pytest.approx(0.1 * 0.5**blocks)
    assert {factor for path, factor in by_path.items() if not path.startswith("encoder/")} == {1.0}
