"""Files of the Hugging Face hub: fetched, checked and kept.

The hub states commit, size and SHA-256 of every large file. It is asked for once, and its answer kept beside the file,
by which the file is checked at every use.
"""

import contextlib
import dataclasses
import hashlib
import http.client
import os
import pathlib
import re
import urllib.error

from mtl_tf import atomic
from mtl_tf.models.weights.checkpoints import Checkpoint
from mtl_tf.models.weights.https import LARGEST, open_url
from mtl_tf.models.weights.tensors import UnreadableError
from mtl_tf.parsing import parse_json
from mtl_tf.progress import Progress

# What a repository may call its weights; the first that it has is taken. Not every one has safetensors.
FILES = ("model.safetensors", "pytorch_model.bin")
_CHUNK = 2**20  # bytes
_LARGEST_ANSWER = 2**24  # bytes of JSON


def cache_folder() -> pathlib.Path:
    """Where fetched files are kept: $MTL_TF_CACHE, else mtl_tf in the user's cache."""
    own = os.environ.get("MTL_TF_CACHE")
    if own:
        return pathlib.Path(own)
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "mtl_tf"


@dataclasses.dataclass(frozen=True)
class Kept:
    """A checked file in the cache.

    Attributes:
        path: of the file.
        sha256: its digest, which is what the hub stated.
        commit: of the repository; None where it was kept before commits were.
    """

    path: pathlib.Path
    sha256: str
    commit: str | None


def fetch(checkpoint: Checkpoint) -> Kept:
    """The checked file of a checkpoint, fetched if it is not there yet or is damaged.

    Raises:
        UnreadableError: the hub cannot be reached, or what it sent is not what it states.
    """
    repository = checkpoint.repository
    folder = cache_folder() / repository.replace("/", "--")
    try:
        return _kept(folder) or _fetch(checkpoint, folder)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise UnreadableError(f"cannot be fetched from {_hub()}/{repository} ({_reason(error)})") from None


def _kept(folder: pathlib.Path) -> Kept | None:
    for path in (folder / file for file in FILES):
        with contextlib.suppress(FileNotFoundError):
            digest = _sha256(path)
            if digest == _beside(path, "sha256").read_text(encoding="utf-8").strip():
                commit = _beside(path, "commit")
                return Kept(path, digest, commit.read_text(encoding="utf-8").strip() if commit.exists() else None)
    return None


def _fetch(checkpoint: Checkpoint, folder: pathlib.Path) -> Kept:
    file, commit, size, digest = _facts(checkpoint.repository)
    licence = checkpoint.licence
    if licence.binds:
        print(f"{checkpoint.repository} is under the {licence.name}: {licence.binds}", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / file
    _download(f"{_hub()}/{checkpoint.repository}/resolve/{commit}/{file}", path, size, digest)
    atomic.write_text(_beside(path, "commit"), commit + "\n")
    atomic.write_text(_beside(path, "sha256"), digest + "\n")  # last: without it the file does not count
    return Kept(path, digest, commit)


def _beside(path: pathlib.Path, fact: str) -> pathlib.Path:
    return path.with_name(f"{path.name}.{fact}")


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError) and error.code in (401, 403):
        return (
            f"HTTP {error.code}: gated, or not there; accept its terms on that page with an account of the hub, and "
            f"download {FILES[0]} there"
        )
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
    return " ".join(str(reason).split())[:160]


def _hub() -> str:
    """The hub's address; its own tools take a mirror from the same variable."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def _facts(repository: str) -> tuple[str, str, int, str]:
    """The file of weights in a repository, its newest commit, the file's size and SHA-256, as the hub states them."""
    with open_url(f"{_hub()}/api/models/{repository}?blobs=true") as answer:
        model = parse_json(answer.read(_LARGEST_ANSWER).decode("utf-8"))
    try:
        commit = str(model["sha"])
        large = {str(sibling["rfilename"]): sibling.get("lfs") for sibling in model["siblings"]}
        name = next(file for file in FILES if large.get(file))
        size, digest = int(large[name]["size"]), str(large[name]["sha256"])
    except (KeyError, TypeError, ValueError, AttributeError, StopIteration):
        raise ValueError(f"the hub states no checksum of {' or '.join(FILES)}") from None
    if not re.fullmatch("[0-9a-f]{40}", commit) or not re.fullmatch("[0-9a-f]{64}", digest):
        raise ValueError(f"the hub states no checksum of {name}")
    if not 0 < size <= LARGEST:
        raise ValueError(f"the hub states {size} bytes for {name}")
    return name, commit, size, digest


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
