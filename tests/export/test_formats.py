"""LiteRT and ONNX files answer in their own runtimes as the run does; what they cannot be is refused in one line."""

import json
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf

import mtl_tf
from mtl_tf import extras
from mtl_tf.commands import main
from mtl_tf.inference.described import tasks_from_json

BUILT_IN = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "BATCH_MATMUL", "RESIZE_BILINEAR", "ARG_MAX"}


@pytest.fixture(scope="module")
def run(tiny_run, tmp_path_factory) -> pathlib.Path:
    """A copy of the finished run of the tiny network, which is trained at 32x48."""
    return shutil.copytree(tiny_run, tmp_path_factory.mktemp("runs") / "run")


def export(run, *options) -> str:
    """The status of the command."""
    return main(["export", f"--run_dir={run}", *options])


def pictures(size=(32, 48), count=2):
    return np.random.default_rng(0).integers(0, 256, (count, *size, 3)).astype(np.uint8)


def check(found, expected, **close):
    assert list(found) == list(expected) == ["semseg", "semseg_probability", "depth"]
    np.testing.assert_array_equal(found.semseg, expected.semseg)
    assert found.semseg.dtype == np.int32 and found.depth.dtype == np.float32
    np.testing.assert_allclose(found.depth, expected.depth, **close)
    np.testing.assert_allclose(found.semseg_probability, expected.semseg_probability, **close)


@pytest.fixture(scope="module")
def litert(run):
    assert export(run, "--format=litert") == 0
    return run / "export.tflite"


@pytest.fixture(scope="module")
def onnx(run):
    assert export(run, "--format=onnx") == 0
    return run / "export.onnx"


# === LiteRT ===


def test_litert_answers_as_the_run_does(run, litert):
    check(mtl_tf.load(litert)(pictures()), mtl_tf.load(run)(pictures()), rtol=1e-4)
    check(mtl_tf.load(litert)(pictures()[0]), mtl_tf.load(run)(pictures()[0]), rtol=1e-4)


def test_litert_has_built_in_operations_only(litert):
    from ai_edge_litert.interpreter import Interpreter

    names = {entry["op_name"] for entry in Interpreter(model_content=litert.read_bytes())._get_ops_details()}
    assert {"CONV_2D", "RESIZE_BILINEAR", "ARG_MAX"} <= names
    assert not [name for name in names if name.startswith("Flex") or name == "CUSTOM"]


def test_any_program_can_read_what_a_litert_file_takes_and_gives(litert):
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(model_content=litert.read_bytes()).get_signature_runner("serving_default")
    (taken,) = runner.get_input_details().items()
    assert taken[0] == "image" and taken[1]["dtype"] == np.uint8
    assert taken[1]["shape_signature"].tolist()[1:] == [32, 48, 3]
    assert set(runner.get_output_details()) == {"semseg", "semseg_probability", "depth"}


def test_litert_takes_pictures_of_one_size(run, litert, capsys):
    with pytest.raises(mtl_tf.UsageError, match=r"takes pictures of 32x48 \(height x width\), got 20x20"):
        mtl_tf.load(litert)(pictures((20, 20)))
    assert export(run, "--format=litert", "--size=40,40", f"--output={run}/square.tflite") == 0
    check(mtl_tf.load(run / "square.tflite")(pictures((40, 40))), mtl_tf.load(run)(pictures((40, 40))), rtol=1e-3)


# === ONNX ===


def test_onnx_answers_as_the_run_does_at_any_size(run, onnx):
    for size in ((32, 48), (45, 30), (64, 97)):
        check(mtl_tf.load(onnx)(pictures(size)), mtl_tf.load(run)(pictures(size)), rtol=1e-3)


def test_onnx_says_what_it_takes_and_gives(onnx):
    import onnx as library

    proto = library.load(onnx)
    library.checker.check_model(proto)
    assert [entry.version for entry in proto.opset_import if entry.domain == ""] == [18]
    assert {node.domain for node in proto.graph.node} <= {"", "ai.onnx.ml"}
    assert [entry.name for entry in proto.graph.input] == ["image"]
    assert {entry.name for entry in proto.graph.output} == {"semseg", "semseg_probability", "depth"}


@pytest.mark.slow
def test_other_sizes_scales_and_operator_sets(run):
    options = "--format=onnx", "--size=40,56", "--scale=native", "--opset=17", f"--output={run}/native.onnx"
    assert export(run, *options) == 0
    found = mtl_tf.load(run / "native.onnx")
    assert found.scales == ("native",) and found.size == (40, 56)
    check(found(pictures((40, 56)), "native"), mtl_tf.load(run)(pictures((40, 56)), "native"), rtol=1e-4)
    with pytest.raises(mtl_tf.UsageError, match="scale=fit is unavailable: this export answers at scale=native"):
        found(pictures((40, 56)))


# === SavedModel ===


@pytest.fixture(scope="module")
def saved_model(run):
    assert export(run) == 0
    return run / "export"


def test_signatures_of_a_saved_model(run, saved_model):
    loaded, expected = tf.saved_model.load(str(saved_model)), mtl_tf.load(run)
    assert set(loaded.signatures) == {"serving_default", "native", "serving_bytes"}
    image = pictures((45, 90))
    for name, scale in (("serving_default", "fit"), ("native", "native")):
        found, wanted = loaded.signatures[name](image=tf.constant(image)), expected(image, scale)
        assert set(found) == set(wanted)
        for answer, value in wanted.items():
            np.testing.assert_allclose(found[answer], value, rtol=1e-5)


def test_a_saved_model_takes_encoded_pictures(run, saved_model):
    loaded, image = tf.saved_model.load(str(saved_model)), pictures((45, 90))
    encoded = tf.stack([tf.io.encode_png(each) for each in image])
    found, wanted = loaded.signatures["serving_bytes"](encoded=encoded), mtl_tf.load(run)(image)
    for answer, value in wanted.items():
        np.testing.assert_allclose(found[answer], value, rtol=1e-5)


def test_assets_say_what_the_answers_are(saved_model):
    described = json.loads((saved_model / "assets" / "tasks.json").read_text(encoding="utf-8"))
    assert described["answers"] == {
        "semseg": "class id",
        "semseg_probability": "probability of that class, 0..1",
        "depth": "metres",
    }
    semseg, _ = tasks_from_json((saved_model / "assets" / "tasks.json").read_text(encoding="utf-8"))
    assert semseg.classes == ("left", "middle", "right") and len(semseg.palette) == 3


# === Quantised ===


@pytest.mark.slow
@pytest.mark.parametrize("format", ["litert", "onnx"])
@pytest.mark.parametrize("quantize", ["float16", "int8"])
def test_quantised_files_are_smaller_and_answer_nearly_the_same(run, litert, onnx, format, quantize):
    assert export(run, f"--format={format}", f"--quantize={quantize}", "--export.force") == 0
    whole = {"litert": litert, "onnx": onnx}[format]
    file = whole.with_stem(f"export_{quantize}")
    assert file.stat().st_size < 0.8 * whole.stat().st_size
    card = json.loads(file.with_name(f"{file.name}.card.json").read_text())
    if quantize == "float16":
        assert card["same_pixels_percent"]["semseg"] >= 99.5 and card["beyond_bounds"] == []
    assert card["same_pixels_percent"]["semseg"] > 90


# === Cards, scores ===


def test_the_card_says_what_an_export_is_worth(litert):
    card = json.loads(litert.with_name("export.tflite.card.json").read_text())
    assert card["compared_on"] == "3 pictures of val" and card["same_pixels_percent"] == {"semseg": 100.0}
    assert card["size_mib"] == pytest.approx(litert.stat().st_size / 2**20) and card["latency_ms"] > 0
    text = litert.with_name("export.tflite.card.md").read_text()
    assert f"| semseg | mIoU | {card['scores']['semseg']['run']} |" in text and "| `depth` | metres |" in text


def test_an_export_is_scored_as_its_run_is(run, onnx, capsys):
    assert main(["evaluate", f"--run_dir={run}"]) == 0
    assert main(["evaluate", f"--run_dir={run}", f"--export={onnx}"]) == 0
    found = json.loads(onnx.with_name("export.onnx.evaluation_val.json").read_text())
    expected = json.loads((run / "evaluation_val.json").read_text())
    assert found["num_images"] == 3 and found["scored"]["weights"] == "export.onnx"
    # The pictures are of the size of the training, and made of whole numbers.
    for task in ("semseg", "depth"):
        numbers = {name: value for name, value in expected[task].items() if isinstance(value, float)}
        assert len(numbers) > 2 and {name: found[task][name] for name in numbers} == pytest.approx(numbers, rel=1e-4)
    assert len(onnx.with_name("export.onnx.per_image_val.csv").read_text().splitlines()) == 4


# === Refusals ===


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--size=32,48"], "--size is an option of --format=litert and onnx"),
        (["--quantize=int8"], "--quantize is an option of --format=litert and onnx"),
        (["--scale=native"], "--scale is an option of --format=litert and onnx"),
        (["--format=onnx", "--precision=mixed_bfloat16"], "--precision=mixed_bfloat16 is an option of"),
        (["--format=onnx", "--output=x.tflite"], "--output=x.tflite takes the name of a .onnx file"),
        (["--format=tensorrt"], "--format: takes one of saved_model, litert, onnx"),
    ],
)
def test_what_does_not_go_together_is_refused(run, options, message, capsys):
    assert export(run, *options) == 2
    assert message in capsys.readouterr().err


def test_a_missing_library_is_named_with_the_command_that_installs_it(run, monkeypatch, capsys):
    monkeypatch.setattr(extras.importlib.util, "find_spec", lambda name: None)
    before = sorted(run.iterdir())
    assert export(run, "--format=onnx", f"--output={run}/no.onnx") == 2
    assert "needs onnx, onnxruntime, tf2onnx; install with: pip install 'mtl_tf[onnx]'" in capsys.readouterr().err
    assert sorted(run.iterdir()) == before


def test_int8_needs_pictures(run, tmp_path, capsys):
    copy = shutil.copytree(run, tmp_path / "run")
    flags = (copy / "run.flags").read_text().splitlines()
    kept = [line for line in flags if not line.startswith("--data.root=")]
    (copy / "run.flags").write_text("\n".join([*kept, f"--data.root={tmp_path}/nowhere"]))
    assert export(copy, "--format=litert", "--quantize=int8") == 2
    assert "--quantize=int8 is calibrated on validation pictures" in capsys.readouterr().err
    assert not (copy / "export_int8.tflite").exists()


@pytest.mark.parametrize("name", ["export.tflite", "export.onnx"])
@pytest.mark.parametrize("keep", [0, 200, -2000])
def test_a_truncated_file_is_named(litert, onnx, tmp_path, name, keep):
    whole = {"export.tflite": litert, "export.onnx": onnx}[name].read_bytes()
    (tmp_path / name).write_bytes(whole[:keep])
    with pytest.raises(mtl_tf.UsageError, match=f"{name} (is damaged|has no description)"):
        mtl_tf.load(tmp_path / name)


def test_an_export_that_answers_otherwise_is_refused(run, monkeypatch, capsys):
    from mtl_tf.inference import predictor

    load = predictor.predictor_of_file

    def load_wrongly(path, content):
        right = load(path, content)
        return lambda image, scale: {**right(image, scale), "depth": 1.1 * right(image, scale).depth}

    monkeypatch.setattr("mtl_tf.export.export.predictor_of_file", load_wrongly)
    arguments = "--format=litert", f"--output={run}/wrong.tflite"
    assert export(run, *arguments) == 2
    assert "depth: mean difference 10.00 %, at most 0.5 % expected; nothing was written" in capsys.readouterr().err
    assert not list(run.glob("wrong*"))
    assert export(run, *arguments, "--export.force") == 0
    assert "BEYOND THE BOUND: depth: mean difference 10.00 %" in capsys.readouterr().out


def test_no_export_to_score(run, tmp_path, capsys):
    assert main(["evaluate", f"--run_dir={run}", f"--export={tmp_path}"]) == 2
    assert "is no export: expected a SavedModel folder, a .tflite or an .onnx file" in capsys.readouterr().err
