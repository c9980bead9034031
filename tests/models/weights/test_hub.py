"""Fetching weights from a hub on this machine: checked, kept, fetched anew when damaged, never used wrong."""

import contextlib
import dataclasses
import hashlib
import http.server
import inspect
import io
import json
import re
import sys
import threading
import urllib.request

import keras
import numpy as np
import pytest
import safetensors.numpy

from mtl_tf.config import ENCODERS, ModelConfig
from mtl_tf.errors import UsageError
from mtl_tf.models.encoders import build_encoder
from mtl_tf.models.encoders.applications import APPLICATIONS
from mtl_tf.models.weights import applications, https, hub, imagenet_source, load_encoder_weights, record_of
from mtl_tf.models.weights.applications import UNCHECKED, open_imagenet
from mtl_tf.models.weights.checkpoints import CHECKPOINTS, Checkpoint, Licence
from mtl_tf.models.weights.tensors import UnreadableError
from tests.models import common
from tests.models.common import difference, pictures
from tests.models.weights import draw, small_transformers, torch_writer

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = ["model.safetensors", "model.safetensors.commit", "model.safetensors.sha256"]
CONTENT = safetensors.numpy.save({"a": np.arange(2000, dtype=np.float32)})


class Hub:
    """A hub with one repository of one large file; counts what is asked for."""

    def __init__(
        self, content: bytes = CONTENT, repository: str = "timm/resnet18.tv_in1k", file: str = "model.safetensors"
    ):
        self.content, self.asked, self.repository, self.file = content, [], repository, file
        self.facts = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest(), "pointerSize": 134}
        self.siblings, self.elsewhere, self.claimed, self.refused = True, "", 0, 0

    def answer(self, path: str) -> tuple[int, bytes]:
        """Status and body."""
        self.asked.append(path)
        if path == f"/api/models/{self.repository}?blobs=true":
            siblings = [{"rfilename": "README.md"}, {"rfilename": self.file, "lfs": self.facts}]
            return 200, json.dumps({"sha": COMMIT, "siblings": siblings if self.siblings else []}).encode()
        if path == f"/{self.repository}/resolve/{COMMIT}/{self.file}":
            return self.refused or (302 if self.elsewhere else 200), self.content
        return 404, b"not found"


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A hub on this machine, and an empty cache."""
    served = Hub()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            status, body = served.answer(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(served.claimed or len(body)))
            self.send_header("Location", served.elsewhere)
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("MTL_TF_CACHE", str(tmp_path / "cache"))
    yield served
    server.shutdown()
    server.server_close()


def fetch(encoder: str = "resnet18"):
    """The file of its first checkpoint."""
    return hub.fetch(CHECKPOINTS[encoder][0]).path


def kept(tmp_path):
    """Names of the files in the cache."""
    return sorted(path.name for path in (tmp_path / "cache").rglob("*") if path.is_file())


def refused() -> str:
    """The reason of a failure."""
    with pytest.raises(UnreadableError) as error:
        fetch()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_file_is_fetched_once_and_kept(served, tmp_path):
    path = fetch()
    assert path.read_bytes() == CONTENT and path.is_relative_to(tmp_path / "cache")
    assert kept(tmp_path) == FILES
    asked = len(served.asked)
    assert fetch() == path
    assert asked == len(served.asked) == 2


def test_a_kept_file_needs_no_network(served, monkeypatch):
    fetch()
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert fetch().read_bytes() == CONTENT


@pytest.mark.parametrize("damage", [CONTENT[:-1], CONTENT[:-1] + b"x", b""])
def test_a_damaged_kept_file_is_fetched_anew(served, damage):
    path = fetch()
    path.write_bytes(damage)
    assert fetch().read_bytes() == CONTENT
    assert len(served.asked) == 4


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (CONTENT[:-1] + b"x", "wrong checksum"),
        (CONTENT[:-1], f"{len(CONTENT)} bytes long, {len(CONTENT) - 1} came"),
        (CONTENT + b"x", "more came"),
    ],
)
def test_what_differs_from_what_the_hub_states_is_not_used(served, tmp_path, sent, words):
    served.content = sent
    assert words in refused()
    assert kept(tmp_path) == []


def test_a_failed_fetch_leaves_what_was_kept(served, tmp_path):
    path = fetch()
    path.write_bytes(b"damaged")
    served.content = b"wrong"
    refused()
    assert path.read_bytes() == b"damaged" and kept(tmp_path) == FILES


def test_a_hub_that_states_no_checksum(served):
    served.siblings = False
    assert "states no checksum" in refused()
    served.siblings, served.facts = True, {"size": 3, "sha256": "../../etc", "pointerSize": 1}
    assert "states no checksum" in refused()


# === Only https ===


@pytest.mark.parametrize(
    "address",
    ["http://example.org", "http://127.0.0.1.example.org", "ftp://127.0.0.1", "file:///etc", "data:text/plain,", "HUB"],
)
def test_what_is_not_https_is_not_asked(address, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_ENDPOINT", address)
    monkeypatch.setenv("MTL_TF_CACHE", str(tmp_path))
    assert "by https only" in refused()


@pytest.mark.parametrize("elsewhere", ["http://example.org/file", "ftp://127.0.0.1/file", "file:///etc/passwd"])
def test_a_redirect_away_from_https_is_not_followed(served, tmp_path, elsewhere):
    served.elsewhere = elsewhere
    assert any(word in refused() for word in ("by https only", "is not allowed"))
    assert kept(tmp_path) == []


def test_a_redirect_to_another_server_here_is_followed(served):
    """As the hub's own, which leads to where its large files lie."""
    fetch()
    other = f"{hub._hub()}/timm/resnet18.tv_in1k/resolve/{COMMIT}/model.safetensors"
    request = urllib.request.Request(f"{hub._hub()}/api")
    assert https._Rules().redirect_request(request, None, 302, "Found", {}, other).full_url == other


def test_an_https_server_may_not_lead_to_http_even_on_this_machine():
    request = urllib.request.Request("https://huggingface.co/file")
    rules = https._Rules()
    with pytest.raises(OSError, match="by https only"):
        rules.redirect_request(request, None, 302, "Found", {}, "http://127.0.0.1:80/file")
    address = "https://cdn.example.org/file"
    assert rules.redirect_request(request, None, 302, "Found", {}, address).full_url == address


def test_an_answer_that_is_too_large_is_not_read(served, tmp_path):
    served.claimed = https.LARGEST + 1
    assert "more than the 4294967296 allowed" in refused()
    served.claimed, served.facts["size"] = 0, https.LARGEST + 1
    assert "the hub states 4294967297 bytes" in refused()
    served.facts["size"] = -1
    assert "the hub states -1 bytes" in refused()
    assert kept(tmp_path) == []


def test_what_keras_fetches_keeps_the_same_rules(monkeypatch):
    def network(include_top, weights):
        urllib.request.urlopen("http://example.org/weights.h5")

    row = dataclasses.replace(APPLICATIONS["resnet50v2"], network=network)
    monkeypatch.setitem(applications.APPLICATIONS, "resnet50v2", row)
    before = urllib.request._opener  # another test may have used it
    with pytest.raises(UnreadableError, match="by https only"):
        open_imagenet("resnet50v2")
    assert urllib.request._opener is before


def test_a_missing_repository(served):
    served.repository = "timm/nothing"
    assert "Not Found" in refused()


def test_no_network_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("MTL_TF_CACHE", str(tmp_path))
    encoder = build_encoder("resnet18")
    with pytest.raises(UsageError) as error:
        load_encoder_weights(encoder, ModelConfig(encoder="resnet18", encoder_weights="imagenet"))
    assert "cannot be fetched from http://127.0.0.1:9/timm/resnet18.tv_in1k" in str(error.value)
    assert "refused" in str(error.value) and "--model.encoder_weights=PATH" in str(error.value)


def test_a_cache_that_cannot_be_written(served, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MTL_TF_CACHE", str(tmp_path / "file"))
    assert "cannot be fetched" in refused()


def test_the_cache_is_the_users_unless_told_otherwise(monkeypatch, tmp_path):
    monkeypatch.delenv("MTL_TF_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert hub.cache_folder() == tmp_path / "mtl_tf"


def test_imagenet_weights_of_a_torch_topology_come_from_the_hub(served):
    encoder = build_encoder("resnet18")
    tensors = {"fc.weight": np.zeros((10, 512), np.float32), "fc.bias": np.zeros(10, np.float32)}
    for name, shape in torch_shapes(encoder).items():
        tensors[name] = draw.weight(name, shape)
    served.__init__(safetensors.numpy.save(tensors))
    said = load_encoder_weights(encoder, ModelConfig(encoder="resnet18", encoder_weights="imagenet"))
    assert (
        said
        == "encoder weights: all 100 tensors of resnet18 from timm/resnet18.tv_in1k; not taken from the file: fc (2)"
    )
    kernel = next(variable for variable in encoder.variables if variable.path == "encoder/conv1/kernel")
    np.testing.assert_array_equal(kernel, tensors["conv1.weight"].transpose(2, 3, 1, 0))


# === Several checkpoints, and their licences ===

SATELLITE = dict(mean=(109.65, 104.805, 75.48), std=(54.315, 39.78, 36.465))


@pytest.fixture
def rows(monkeypatch):
    """Checkpoints of a small transformer; the second is under a licence that binds, on images whitened otherwise."""
    bound = Licence("Bound License", "for tests only, https://example.org/licence")
    found = (
        Checkpoint("timm/small.first", Licence("Apache-2.0")),
        Checkpoint("somebody/small.second", bound, **SATELLITE),
    )
    monkeypatch.setitem(CHECKPOINTS, "small_plain", found)
    return found


def small_config(source, **options) -> ModelConfig:
    return ModelConfig(encoder="small_plain", encoder_weights=str(source), **options)


def serve(served, repository: str, file: str = "model.safetensors") -> dict[str, np.ndarray]:
    """Puts a checkpoint of the small transformer on the hub."""
    tensors = {name: draw.weight(name, shape) for name, shape in small_transformers.PLAIN.items()}
    content = safetensors.numpy.save(tensors)
    if file.endswith(".bin"):
        buffer = io.BytesIO()
        torch_writer.write_zip(buffer, tensors)
        content = buffer.getvalue()
    served.__init__(content, repository, file)
    return tensors


def test_a_checkpoint_is_named(served, rows, capsys):
    tensors = serve(served, "timm/small.first")
    encoder = small_transformers.plain()
    for name in ("imagenet", "first"):
        said = load_encoder_weights(encoder, small_config(name))
        assert said.startswith(f"encoder weights: all {len(tensors)} tensors of small_plain from timm/small.first")
    assert len(served.asked) == 2 and "License" not in capsys.readouterr().out
    with pytest.raises(UsageError, match="somebody/small"):
        load_encoder_weights(encoder, small_config("second"))


def test_a_licence_that_binds_is_said_when_weights_are_fetched(served, rows, capsys):
    serve(served, "somebody/small.second")
    said = load_encoder_weights(small_transformers.plain(), small_config("second"))
    line = "somebody/small.second is under the Bound License: for tests only, https://example.org/licence\n"
    assert line in capsys.readouterr().out
    assert "turned to images whitened as ImageNet's" in said
    load_encoder_weights(small_transformers.plain(), small_config("second"))
    assert "License" not in capsys.readouterr().out


def test_a_checkpoint_of_images_whitened_otherwise_has_its_features(served, rows):
    tensors, encoder, images = serve(served, "somebody/small.second"), small_transformers.plain(), pictures(1, 12, 12)
    load_encoder_weights(encoder, small_config("second"))
    expected = small_transformers.plain_features(tensors, (images - SATELLITE["mean"]) / SATELLITE["std"])
    assert difference(encoder(images)["stride4"], expected) < 1e-5


def test_a_repository_without_safetensors(served, rows, tmp_path):
    """As those of MiT may be: the file of torch.save is checked and read as any other."""
    tensors, encoder = serve(served, "timm/small.first", "pytorch_model.bin"), small_transformers.plain()
    assert f"all {len(tensors)} tensors" in load_encoder_weights(encoder, small_config("imagenet"))
    np.testing.assert_array_equal(encoder.get_layer("norm").gamma, tensors["norm.weight"])
    assert kept(tmp_path) == ["pytorch_model.bin", "pytorch_model.bin.commit", "pytorch_model.bin.sha256"]
    served.content = served.content[:-1] + b"x"
    hub.fetch(rows[0]).path.unlink()
    with pytest.raises(UnreadableError, match="wrong checksum"):
        hub.fetch(rows[0])


@pytest.mark.parametrize("status", [401, 403])
def test_a_gated_repository_says_how_to_get_in(status, served, rows, tmp_path):
    serve(served, "timm/small.first")
    served.refused = status
    message = common.refused(small_transformers.plain(), small_config("imagenet"))
    assert f"timm/small.first (HTTP {status}: gated, or not there; accept its terms on that page" in message
    assert message.endswith("give the path of the file instead: --model.encoder_weights=PATH")
    assert "\n" not in message and len(message) < 400 and kept(tmp_path) == []


def test_a_name_that_is_not_published(rows, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    encoder = small_transformers.plain()
    message = common.refused(encoder, small_config("secnd"))
    assert "names no such file; did you mean second? it takes none, imagenet, first, second, or the path of" in message
    assert "did you mean imagenet?" in common.refused(encoder, small_config("imagnet"))
    assert "did you mean" not in common.refused(encoder, small_config("ms_in1k"))
    other = ModelConfig(encoder="segnet", encoder_weights="imagenet")
    assert "is not published for segnet; give the path" in common.refused(encoder, other)
    segnet = ModelConfig(encoder="segnet", encoder_weights="imagnet")
    assert "it takes none, or the path of" in common.refused(encoder, segnet)


def test_a_file_with_the_name_of_a_checkpoint_is_given_as_a_path(served, rows, monkeypatch, tmp_path):
    tensors = serve(served, "timm/small.first")
    monkeypatch.chdir(tmp_path)
    safetensors.numpy.save_file(tensors | {"norm.bias": np.full(8, 5.0, np.float32)}, "first")
    encoder = small_transformers.plain()
    load_encoder_weights(encoder, small_config("./first"))
    np.testing.assert_array_equal(encoder.get_layer("norm").beta, np.full(8, 5.0))
    load_encoder_weights(encoder, small_config("first"))
    np.testing.assert_array_equal(encoder.get_layer("norm").beta, tensors["norm.bias"])


def test_a_checkpoint_has_one_set_of_weights(rows):
    message = common.refused(small_transformers.plain(), small_config("first", weights_key="ema"))
    assert "first is one set of weights; leave --model.weights_key=ema out" in message


def test_what_a_run_notes_of_its_weights(served, rows, tmp_path):
    serve(served, "somebody/small.second")
    digest = served.facts["sha256"]
    expected = {
        "source": "huggingface.co/somebody/small.second",
        "file": "model.safetensors",
        "commit": COMMIT,
        "sha256": digest,
        "licence": "Bound License",
    }
    assert record_of(small_config("second")) == expected
    # Kept before commits were.
    (hub.cache_folder() / "somebody--small.second" / "model.safetensors.commit").unlink()
    assert record_of(small_config("second")) == expected | {"commit": None}
    path = tmp_path / "own"
    path.write_bytes(served.content)
    assert record_of(small_config(path)) == {"source": str(path), "sha256": digest}
    assert record_of(ModelConfig(encoder="resnet50v2", encoder_weights="imagenet")) == {"source": "keras.applications"}
    assert record_of(small_config("none")) is None
    (tmp_path / "best").mkdir()
    (tmp_path / "best" / "weights.h5").write_bytes(b"")
    empty = hashlib.sha256().hexdigest()
    run = {"source": str(tmp_path / "best" / "weights.h5"), "sha256": empty}
    assert record_of(ModelConfig(weights=str(tmp_path))) == run
    path.unlink()
    with pytest.raises(UsageError, match="own cannot be read again: names no such file"):
        record_of(small_config(path))


def test_names_of_checkpoints_differ_and_are_no_other_words():
    for encoder, found in CHECKPOINTS.items():
        names = [row.name for row in found]
        assert len({"none", "imagenet", *names}) == 2 + len(names), encoder
        for row in found:
            assert re.fullmatch(r"[\w-]+/[\w.-]+", row.repository) and row.licence.name
            assert len(row.mean) == len(row.std) and len(row.mean) in (0, 3)


def torch_shapes(encoder) -> dict[str, tuple[int, ...]]:
    """The names and shapes that PyTorch has for an encoder, from the list of tensors of a whole network."""
    from tests.models.weights.test_layouts import named_shapes

    shapes = named_shapes("smp_deeplabv3_resnet18")
    prefix = "encoder."
    found = {name.removeprefix(prefix): shape for name, shape in shapes.items() if name.startswith(prefix)}
    return {name: shape for name, shape in found.items() if not name.endswith("num_batches_tracked")}


def test_every_row_names_an_encoder():
    assert set(CHECKPOINTS) <= set(ENCODERS.built_in)


@pytest.mark.parametrize("name", ENCODERS.built_in)
def test_every_encoder_has_a_source(name):
    source = imagenet_source(name)
    if name in CHECKPOINTS:
        assert source == f"huggingface.co/{CHECKPOINTS[name][0].repository}"
    else:
        assert source == ("" if name in (*UNCHECKED, "segnet") else "keras.applications")


@pytest.mark.parametrize("name", APPLICATIONS)
def test_keras_checks_what_it_fetches(name):
    """What Keras' source states no hash for is never asked for; see `UNCHECKED`."""
    source = inspect.getsource(sys.modules[APPLICATIONS[name].network.__module__])
    if "resnet.ResNet(" in source:
        source = inspect.getsource(keras.src.applications.resnet)
    assert ("file_hash=" in source) == (name not in UNCHECKED)
    if name in UNCHECKED:
        with pytest.raises(UnreadableError, match="no published checksum"):
            open_imagenet(name)
