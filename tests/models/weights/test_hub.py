"""Fetching ImageNet weights from a hub on this machine: checked, kept, fetched anew when damaged, never used wrong."""

import contextlib
import dataclasses
import hashlib
import http.server
import inspect
import json
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
from mtl_tf.models.weights import applications, https, hub, imagenet_source, load_encoder_weights
from mtl_tf.models.weights.applications import UNCHECKED, open_imagenet
from mtl_tf.models.weights.tensors import UnreadableError
from tests.models.weights import draw

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CONTENT = safetensors.numpy.save({"a": np.arange(2000, dtype=np.float32)})


class Hub:
    """A hub with one repository; counts what is asked for."""

    def __init__(self, content: bytes = CONTENT):
        self.content, self.asked = content, []
        self.facts = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest(), "pointerSize": 134}
        self.siblings, self.elsewhere, self.claimed = True, "", 0

    def answer(self, path: str) -> tuple[int, bytes]:
        """Status and body."""
        self.asked.append(path)
        if path == "/api/models/timm/resnet18.tv_in1k?blobs=true":
            siblings = [{"rfilename": "README.md"}, {"rfilename": "model.safetensors", "lfs": self.facts}]
            return 200, json.dumps({"sha": COMMIT, "siblings": siblings if self.siblings else []}).encode()
        if path == f"/timm/resnet18.tv_in1k/resolve/{COMMIT}/model.safetensors":
            return 302 if self.elsewhere else 200, self.content
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


def kept(tmp_path):
    """Names of the files in the cache."""
    return sorted(path.name for path in (tmp_path / "cache").rglob("*") if path.is_file())


def refused() -> str:
    """The reason of a failure."""
    with pytest.raises(UnreadableError) as error:
        hub.fetch("resnet18")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_file_is_fetched_once_and_kept(served, tmp_path):
    path = hub.fetch("resnet18")
    assert path.read_bytes() == CONTENT and path.is_relative_to(tmp_path / "cache")
    assert kept(tmp_path) == ["model.safetensors", "model.safetensors.sha256"]
    asked = len(served.asked)
    assert hub.fetch("resnet18") == path
    assert asked == len(served.asked) == 2


def test_a_kept_file_needs_no_network(served, monkeypatch):
    hub.fetch("resnet18")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert hub.fetch("resnet18").read_bytes() == CONTENT


@pytest.mark.parametrize("damage", [CONTENT[:-1], CONTENT[:-1] + b"x", b""])
def test_a_damaged_kept_file_is_fetched_anew(served, damage):
    path = hub.fetch("resnet18")
    path.write_bytes(damage)
    assert hub.fetch("resnet18").read_bytes() == CONTENT
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
    path = hub.fetch("resnet18")
    path.write_bytes(b"damaged")
    served.content = b"wrong"
    refused()
    assert path.read_bytes() == b"damaged" and kept(tmp_path) == ["model.safetensors", "model.safetensors.sha256"]


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
    hub.fetch("resnet18")
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


def test_a_missing_repository(served, monkeypatch):
    monkeypatch.setitem(hub.REPOSITORIES, "resnet18", "timm/nothing")
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
    assert said == "encoder weights: all 100 tensors of resnet18 from ImageNet; not taken from the file: fc (2)"
    kernel = next(variable for variable in encoder.variables if variable.path == "encoder/conv1/kernel")
    np.testing.assert_array_equal(kernel, tensors["conv1.weight"].transpose(2, 3, 1, 0))


def torch_shapes(encoder) -> dict[str, tuple[int, ...]]:
    """The names and shapes that PyTorch has for an encoder, from the list of tensors of a whole network."""
    from tests.models.weights.test_layouts import named_shapes

    shapes = named_shapes("smp_deeplabv3_resnet18")
    prefix = "encoder."
    found = {name.removeprefix(prefix): shape for name, shape in shapes.items() if name.startswith(prefix)}
    return {name: shape for name, shape in found.items() if not name.endswith("num_batches_tracked")}


@pytest.mark.parametrize("name", ENCODERS)
def test_every_encoder_has_a_source(name):
    source = imagenet_source(name)
    assert source in ("keras.applications", f"huggingface.co/timm/{name}.tv_in1k") or (name in UNCHECKED and not source)


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
