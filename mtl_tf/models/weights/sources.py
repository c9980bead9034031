"""What --model.weights and --model.encoder_weights may name: a published checkpoint, a weight file, or a run."""

import contextlib
import dataclasses
import hashlib
import pathlib

from mtl_tf.config import ModelConfig
from mtl_tf.errors import did_you_mean
from mtl_tf.models.encoders.applications import APPLICATIONS
from mtl_tf.models.weights import hub
from mtl_tf.models.weights.applications import UNCHECKED, open_imagenet
from mtl_tf.models.weights.checkpoints import CHECKPOINTS, Checkpoint, published
from mtl_tf.models.weights.files import FORMATS, file_of_run, open_tensors
from mtl_tf.models.weights.tensors import Tensor, UnreadableError


@dataclasses.dataclass(frozen=True)
class Source:
    """Weights that are there.

    Attributes:
        called: what the report calls them.
        path: their file; None for those that Keras keeps.
        key: the set of weights in the file; empty for the usual one.
        said: which of the weights of a run they are.
        checkpoint: the row that published ones have on the hub.
        commit: of the hub's repository.
    """

    called: str
    path: pathlib.Path | None = None
    key: str = ""
    said: str = ""
    checkpoint: Checkpoint | None = None
    commit: str | None = None

    def open(self, encoder: str) -> contextlib.AbstractContextManager[dict[str, Tensor]]:
        """Their tensors; raises UnreadableError."""
        if self.path is not None:
            return open_tensors(self.path)
        with _or_a_path():
            return open_imagenet(encoder)

    def record(self) -> dict[str, str | None]:
        """What a run notes of them; the SHA-256 is that of the file as it is."""
        if self.path is None:
            return {"source": "keras.applications"}
        with open(self.path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if self.checkpoint is None:
            return {"source": str(self.path), "sha256": digest}
        return {
            "source": f"huggingface.co/{self.checkpoint.repository}",
            "file": self.path.name,
            "commit": self.commit,
            "sha256": digest,
            "licence": self.checkpoint.licence.name,
        }


def imagenet_source(encoder: str) -> str:
    """Where the weights come from that "imagenet" stands for; empty if nobody publishes them."""
    if encoder in APPLICATIONS:
        return "" if encoder in UNCHECKED else "keras.applications"
    checkpoint = published(encoder, "imagenet")
    return f"huggingface.co/{checkpoint.repository}" if checkpoint else ""


def find(source: str, config: ModelConfig) -> Source:
    """Finds weights, and fetches them where they are published and not kept yet.

    Args:
        source: "imagenet", the name of another checkpoint of the encoder, a path.
        config: `encoder` and `weights_key`.

    Raises:
        UnreadableError: there is nothing of that name, or it cannot be fetched.
    """
    encoder, path = config.encoder, pathlib.Path(source)
    checkpoint = published(encoder, source)
    if checkpoint is not None:
        if config.weights_key:
            raise UnreadableError(f"is one set of weights; leave --model.weights_key={config.weights_key} out")
        with _or_a_path():
            kept = hub.fetch(checkpoint)
        return Source(checkpoint.repository, kept.path, checkpoint=checkpoint, commit=kept.commit)
    if source == "imagenet":
        if encoder in APPLICATIONS:
            return Source("ImageNet")
        raise UnreadableError(f"is not published for {encoder}; give the path of a file: {FORMATS}")
    if path.is_dir():
        path, said = file_of_run(path, config.weights_key)
        return Source(source, path, said=said)
    if not (path.exists() or path.with_name(f"{path.name}.index").exists()):
        imagenet = ["imagenet"] if imagenet_source(encoder) else []
        names = ["none", *imagenet, *(row.name for row in CHECKPOINTS.get(encoder, ()))]
        takes = f"it takes {', '.join(names)}, or the path of a run or of a weight file: {FORMATS}"
        raise UnreadableError(f"names no such file; {did_you_mean(source, names, takes)}")
    return Source(source, path, config.weights_key)


@contextlib.contextmanager
def _or_a_path():
    try:
        yield
    except UnreadableError as error:
        raise UnreadableError(f"{error}; give the path of the file instead: --model.encoder_weights=PATH") from None
