"""What an architecture is built on: the image, and the encoder: whole, in stages, or a copy of it for each task."""

from collections.abc import Iterator, Mapping

import keras

from mtl_tf.config import ModelConfig
from mtl_tf.models.branch import in_memory
from mtl_tf.models.encoders import encoder_of
from mtl_tf.models.layers import scope
from mtl_tf.models.stages import Stages
from mtl_tf.options import Section


class Backbone(Mapping):
    """A mapping of the features of the shared encoder.

    Args:
        config: of the network.
        image: (B, H, W, 3) RGB 0..255.
        options: of the architecture; None = it has none.
        shared: whether there is a shared encoder.

    Attributes:
        config, image, options: the same.
        pyramid: the features of the shared encoder, {"stride4": ..., "last": ...}, of which "last" is the deepest; {}
            where there is none.
    """

    def __init__(
        self, config: ModelConfig, image: keras.KerasTensor, options: Section | None = None, shared: bool = True
    ):
        self.config, self.image, self.options = config, image, options
        self.pyramid = self.whole() if shared else {}

    def __getitem__(self, name: str) -> keras.KerasTensor:
        return self.pyramid[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.pyramid)

    def __len__(self) -> int:
        return len(self.pyramid)

    def whole(self, copy: str = "") -> dict[str, keras.KerasTensor]:
        """The features of an encoder of its own, which starts from the same weights; its variables are COPY/encoder/...

        Args:
            copy: name of the copy, that of a task say; "" = the encoder itself.
        """
        encoder = self.encoder(copy)
        features, given = in_memory(self.config, encoder)(self.image), encoder.output
        # A model that is called gives two tensors where two of its outputs are one.
        same = [name for name, tensor in given.items() if name != "last" and tensor is given["last"]]
        return {**features, "last": features[same[0]]} if same else features

    def stages(self, copy: str = "") -> Stages:
        """An encoder in stages, whose models are called one after another; see `whole`.

        Raises:
            UsageError: the encoder cannot be cut between its stages.
        """
        return Stages(self.config.encoder, self.encoder(copy))

    def encoder(self, copy: str = "") -> keras.Model:
        """The encoder itself, which is not called yet; see `whole`."""
        if not copy:
            return encoder_of(self.config)
        with scope(copy):
            encoder = encoder_of(self.config)
        encoder.name = f"{copy}_encoder"
        return encoder
