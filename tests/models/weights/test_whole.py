"""--model.weights: a whole network to start from, part by part; what does not fit is said or refused."""

import hashlib
import json

import numpy as np
import pytest

from mtl_tf import build_model
from mtl_tf.config import Config, ModelConfig
from mtl_tf.errors import UsageError
from mtl_tf.models.weights import load_pretrained
from mtl_tf.tasks import Depth, Segmentation
from mtl_tf.training.checkpoints import save_weights
from tests.helpers import ROOT, TINY, one_line_error, weights_of
from tests.models.common import randomise
from tests.models.weights import draw, torch_writer
from tests.models.weights.test_layouts import named_shapes

pytestmark = pytest.mark.slow


def tasks(classes: int = 3):
    """Segmentation of some classes, and depth."""
    named = tuple(f"class {i}" for i in range(classes))
    return (
        Segmentation(classes=named, palette=tuple((i, i, i) for i in range(classes))),
        Depth(minimum=1.0, maximum=50.0, mean=10.0, std=5.0, log_mean=2.2, log_std=0.5),
    )


def build(classes: int = 3, weights="none", **options):
    config = ModelConfig(encoder="resnet18", weights=str(weights), **options)
    return build_model(config, tasks(classes)), config


def values(model) -> dict[str, np.ndarray]:
    return {variable.path: np.array(variable) for variable in model.variables}


@pytest.fixture(scope="module")
def joint(tmp_path_factory):
    """The best weights of a joint network with three classes, and its directory."""
    folder = tmp_path_factory.mktemp("joint")
    model, _ = build()
    randomise(model, seed=11)
    save_weights(model, folder / "best" / "weights.h5")
    return folder, values(model)


def load(model, config):
    """Loads, and gives what was said and the values before and after."""
    before = values(model)
    said = load_pretrained(model, config)
    return said, before, values(model)


def unchanged(model, config) -> str:
    """The message of a refusal, after checking that it changed nothing."""
    before = values(model)
    with pytest.raises(UsageError) as error:
        load_pretrained(model, config)
    for path, value in values(model).items():
        np.testing.assert_array_equal(value, before[path])
    assert "\n" not in str(error.value)
    return str(error.value)


# === Runs ===


def test_a_run_of_the_same_network_is_taken_whole(joint):
    folder, stored = joint
    said, _, after = load(*build(weights=folder))
    for path, value in after.items():
        np.testing.assert_array_equal(value, stored[path])
    assert "anew" not in said and "not taken" not in said
    assert "all 100 tensors of resnet18" in said and "shared/aspp (30)" in said and "semseg/head (2)" in said


def test_heads_of_other_classes_start_anew(joint):
    folder, stored = joint
    said, before, after = load(*build(5, weights=folder / "best" / "weights.h5"))
    for path, value in after.items():
        np.testing.assert_array_equal(value, before[path] if path.startswith("semseg/head") else stored[path])
    assert "start anew: semseg/head (2)" in said
    assert "not taken from the file: semseg/head (of another shape) (2)" in said


@pytest.mark.parametrize("architecture", ["branched", "distilled"])
def test_the_shared_decoder_starts_that_of_every_task(joint, architecture):
    folder, stored = joint
    said, before, after = load(*build(weights=folder, architecture=architecture))
    for path, value in after.items():
        rest = path.partition("/")[2]
        if rest.startswith(("aspp", "decoder")):
            np.testing.assert_array_equal(value, stored[f"shared/{rest}"], path)
        else:
            np.testing.assert_array_equal(value, stored.get(path, before[path]), path)
    assert "depth/aspp (30)" in said and "semseg/decoder/fuse2 (5)" in said
    assert ("depth/attention/semseg" in said) == (architecture == "distilled")


def test_decoders_of_several_tasks_are_none_for_all_of_them(tmp_path):
    model, _ = build(architecture="branched")
    save_weights(model, tmp_path / "branched.h5")
    said, _, _ = load(*build(weights=tmp_path / "branched.h5"))
    assert "start anew: shared/aspp (30)" in said and "semseg/aspp (30)" in said.partition("not taken")[2]


def test_another_decoder_is_refused(joint):
    folder, _ = joint
    model, config = build(weights=folder, aspp_rates=(2, 4))
    message = unchanged(model, config)
    assert "26 of 159 tensors differ (shared/aspp/atrous3_bn/" in message and "is not in the network" in message
    assert f"--model.weights={folder} does not fit the network" in message
    assert "or take its encoder alone: --model.encoder_weights=PATH" in message


def test_another_encoder_is_refused(joint):
    config = ModelConfig(encoder="resnet34", weights=str(joint[0]))
    message = unchanged(build_model(config, tasks()), config)
    assert "these are of resnet18: use --model.encoder=resnet18" in message


def test_a_file_without_an_encoder_is_refused(tmp_path):
    import h5py

    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["shared/aspp/point_conv/kernel"] = np.zeros((1, 1, 512, 256), np.float32)
    assert "no encoder" in unchanged(*build(weights=tmp_path / "a.h5"))


def test_a_tensor_that_nobody_knows_is_refused(tmp_path):
    shapes = named_shapes("smp_deeplabv3_resnet18")
    tensors = {name.removeprefix("encoder."): draw.weight(name, shape) for name, shape in shapes.items()}
    tensors = {name: value for name, value in tensors.items() if not name.startswith(("decoder", "segmentation"))}
    tensors["attention.weight"] = np.ones(3, np.float32)
    torch_writer.write_zip(tmp_path / "a.pth", tensors)
    message = unchanged(*build(weights=tmp_path / "a.pth"))
    assert "1 of 101 tensors differ (attention.weight is not in the network)" in message


def test_two_starts_are_one_too_many():
    with pytest.raises(UsageError, match="set one of them to none"):
        ModelConfig(weights="a.h5", encoder_weights="imagenet")
    assert Config().model.weights == "none"


# === As a user runs it ===


def test_training_starts_from_a_run(tiny_run, tiny_dataset, tmp_path, capsys):
    from mtl_tf.commands import main

    arguments = [*TINY, f"--data.root={tiny_dataset}", "--data.image_size=32,48", f"--run_dir={tmp_path / 'run'}"]
    still = ["--optim.learning_rate=0", "--train.epochs=1", f"--model.weights={tiny_run}"]
    assert main(["train", *arguments, *still]) == 0
    said = capsys.readouterr().out
    assert f"encoder weights: all 105 tensors of tiny from {tiny_run}; also " in said
    file = tiny_run / "best" / "weights.h5"
    noted = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert noted["weights"] == {"source": str(file), "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    assert noted["cores"] >= 1
    stored, found = weights_of(tiny_run), weights_of(tmp_path / "run")
    for path, value in found.items():
        if "moving" not in path:  # running statistics move without any rate
            np.testing.assert_array_equal(value, stored[path], path)


def test_the_tool_converts_and_reports(tmp_path):
    import subprocess
    import sys

    def tool(*arguments):
        command = [sys.executable, str(ROOT / "tools" / "convert_weights.py"), "--model.encoder=resnet18"]
        return subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True)

    tensors = {name: draw.weight(name, shape) for name, shape in named_shapes("smp_deeplabv3plus_resnet18").items()}
    torch_writer.write_legacy(tmp_path / "a.pth", tensors)
    done = tool(f"--input={tmp_path / 'a.pth'}", f"--output={tmp_path / 'a.h5'}", "--model.aspp_rates=12,24,36")
    assert done.returncode == 0, done.stderr
    assert (
        "all 100 tensors of resnet18" in done.stdout and "also shared/aspp (30), shared/decoder/skip (5)" in done.stdout
    )
    assert "start anew: shared/decoder/fuse1 (5)" in done.stdout and "a.h5: 135 tensors" in done.stdout

    direct, config = build(weights=tmp_path / "a.pth", aspp_rates=(12, 24, 36), architecture="branched")
    load_pretrained(direct, config)
    converted, config = build(weights=tmp_path / "a.h5", aspp_rates=(12, 24, 36), architecture="branched")
    load_pretrained(converted, config)
    for path, value in values(direct).items():
        if "/aspp/" in path or "/skip" in path or path.startswith("encoder/"):
            np.testing.assert_array_equal(value, values(converted)[path], path)

    (tmp_path / "b.pth").write_bytes((tmp_path / "a.pth").read_bytes()[:5000])
    failed = tool(f"--input={tmp_path / 'b.pth'}")
    assert "cut off PyTorch file" in one_line_error(failed.returncode, failed.stderr)
