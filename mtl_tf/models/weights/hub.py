"""The ImageNet weights of PyTorch's networks: fetched from the Hugging Face hub, checked and kept.

The hub states the SHA-256 of every large file. It is asked for once and kept beside the file, by which the file is
checked at every use.
"""

import contextlib
import hashlib
import http.client
import os
import pathlib
import re

from mtl_tf import atomic
from mtl_tf.models.weights.https import LARGEST, open_url
from mtl_tf.models.weights.tensors import UnreadableError
from mtl_tf.parsing import parse_json
from mtl_tf.progress import Progress

# torchvision's own weights (IMAGENET1K_V1), as timm publishes them; BSD-3-Clause.
REPOSITORIES = {
    name: f"timm/{name}.tv_in1k"
    for name in (
        *("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
        *("wide_resnet50_2", "wide_resnet101_2", "resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d"),
    )
}
FILE = "model.safetensors"
_CHUNK = 2**20  # bytes
_LARGEST_ANSWER = 2**24  # bytes of JSON


def cache_folder() -> pathlib.Path:
    """Where fetched files are kept: $MTL_TF_CACHE, else mtl_tf in the user's cache."""
    own = os.environ.get("MTL_TF_CACHE")
    if own:
        return pathlib.Path(own)
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "mtl_tf"


def fetch(encoder: str) -> pathlib.Path:
    """The checked file with the ImageNet weights of an encoder, fetched if it is not there yet or is damaged.

    Raises:
        UnreadableError: the hub cannot be reached, or what it sent is not what it states.
    """
    repository = REPOSITORIES[encoder]
    path = cache_folder() / repository.replace("/", "--") / FILE
    stated = path.with_name(f"{FILE}.sha256")
    try:
        with contextlib.suppress(FileNotFoundError):
            if _sha256(path) == stated.read_text(encoding="utf-8").strip():
                return path
        commit, size, digest = _facts(repository)
        path.parent.mkdir(parents=True, exist_ok=True)
        _download(f"{_hub()}/{repository}/resolve/{commit}/{FILE}", path, size, digest)
        atomic.write_text(stated, digest + "\n")
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        reason = " ".join(str(reason).split())[:160]
        raise UnreadableError(f"cannot be fetched from {_hub()}/{repository} ({reason})") from None
    return path


def _hub() -> str:
    """The hub's address; its own tools take a mirror from the same variable."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def _facts(repository: str) -> tuple[str, int, str]:
    """The newest commit of a repository, and size and SHA-256 of its file, as the hub states them."""
    with open_url(f"{_hub()}/api/models/{repository}?blobs=true") as answer:
        model = parse_json(answer.read(_LARGEST_ANSWER).decode("utf-8"))
    try:
        commit = str(model["sha"])
        (file,) = (sibling["lfs"] for sibling in model["siblings"] if sibling["rfilename"] == FILE)
        size, digest = int(file["size"]), str(file["sha256"])
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"the hub states no checksum of {FILE}") from None
    if not re.fullmatch("[0-9a-f]{40}", commit) or not re.fullmatch("[0-9a-f]{64}", digest):
        raise ValueError(f"the hub states no checksum of {FILE}")
    if not 0 < size <= LARGEST:
        raise ValueError(f"the hub states {size} bytes for {FILE}")
    return commit, size, digest


def _download(url: str, path: pathlib.Path, size: int, digest: str):
    progress, found, length = Progress(f"fetching {url}", size >> 20, "MiB"), hashlib.sha256(), 0
    try:
        with open_url(url) as answer, atomic.swapping(path) as file:
            while chunk := answer.read(_CHUNK):
                length += len(chunk)
                if length > size:
                    break
                found.update(chunk)
                file.write(chunk)
                progress.advance(len(chunk) >> 20)
            if length != size:
                raise ValueError(f"the file is {size} bytes long, {'more' if length > size else length} came")
            if found.hexdigest() != digest:
                raise ValueError(f"wrong checksum: SHA-256 {found.hexdigest()} instead of {digest}; nothing was kept")
    finally:
        progress.close()


def _sha256(path: pathlib.Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
