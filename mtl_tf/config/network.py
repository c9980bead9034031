"""Options of the network."""

import dataclasses

from mtl_tf.errors import UsageError
from mtl_tf.models.architectures import ARCHITECTURES
from mtl_tf.models.encoders import ENCODERS, PYRAMIDS
from mtl_tf.options import Section, format_value, option


@dataclasses.dataclass(frozen=True)
class ModelConfig(Section):
    """The network."""

    architecture: str = option(
        "joint",
        "One decoder for all tasks, one per task, or one per task that exchange features by attention.",
        choices=ARCHITECTURES,
    )
    encoder: str = option("resnet34", "Shared encoder.", choices=ENCODERS)
    encoder_weights: str = option(
        "none",
        "Initial encoder: none (random), imagenet (fetched once), the name of another published checkpoint of it "
        "(main.py encoders lists them), or the path of a run or of a weight file.",
    )
    weights: str = option(
        "none",
        "Initial network, encoder included: none, or the path of a run or of a DeepLabV3(+) network of PyTorch.",
    )
    weights_key: str = option(
        "",
        "Which set of weights, where such a file holds several: its name there, e.g. state_dict_ema; of a run, best or "
        "averaged. Empty: the trained ones.",
        before="",
    )
    dilation: tuple[int, ...] = option(
        (0, 0, 1),
        "For layers 2,3,4: 1 trades the stride of the layer for dilation.",
        choices=(0, 1),
        lengths=(3,),
    )
    consistent_dilation: bool = option(
        False, "BasicBlock: dilate conv1 as well, so that strided weights give the same features."
    )
    aspp: bool = option(True, "Atrous spatial pyramid pooling after the encoder (else one 1x1 convolution).")
    aspp_rates: tuple[int, ...] = option(
        (3, 6, 9), "Dilation of the 3x3 branches of ASPP.", minimum=1, lengths=(1, 2, 3, 4, 5, 6)
    )
    skip: bool = option(True, "Decoder with encoder features of small stride.")
    skip_strides: tuple[int, ...] = option(
        (4,),
        "Strides of these features, falling; heads and attention work at the last.",
        choices=(8, 4, 2),
        lengths=(1, 2, 3),
    )
    squeeze_excitation: bool = option(False, "Squeeze-and-excitation in every residual block of the encoder.")
    pyramid: str = option(
        "simple",
        "Plain transformers: features of strides 4 to 32 by transposed convolutions and pooling of tokens, or by DPT's "
        "reassembly.",
        choices=PYRAMIDS,
        before="simple",
    )
    drop_path: float = option(
        0.0,
        "Transformers: share of images for which a branch of the last block is left out while training; it rises from "
        "0 over the blocks.",
        minimum=0.0,
        maximum=0.99,
        before=0.0,
    )
    lora_rank: int = option(
        0,
        "Transformers: rank of low-rank adapters of the attention, which are trained instead of the pretrained weights "
        "of the encoder; 0 = none.",
        minimum=0,
        maximum=1024,
        before=0,
    )
    recompute: bool = option(
        False, "Compute activations again for the gradient instead of keeping them: less memory, more time."
    )
    gate_init: str = option(
        "zeros",
        "distilled, padnet, mtinet: initial gates of the attention, half open or random.",
        choices=("zeros", "default"),
    )

    def __post_init__(self):
        super().__post_init__()
        if len(set(self.aspp_rates)) != len(self.aspp_rates):
            raise UsageError(f"model.aspp_rates={format_value(self.aspp_rates)} names a rate twice; leave one out")
        for name in ("weights", "encoder_weights"):
            if not getattr(self, name):
                raise UsageError(f"model.{name} is empty; none starts from random weights")
        if "none" not in (self.weights, self.encoder_weights):
            raise UsageError(
                f"model.weights={self.weights} holds an encoder too, model.encoder_weights={self.encoder_weights} "
                "names another; set one of them to none"
            )
        if self.encoder_weights == "imagenet" and self.weights_key:
            raise UsageError(
                f"model.weights_key={self.weights_key} chooses within a file; the ImageNet weights are one set: "
                "leave it out"
            )
        strides = format_value(self.skip_strides)
        if any(second >= first for first, second in zip(self.skip_strides, self.skip_strides[1:], strict=False)):
            raise UsageError(f"model.skip_strides={strides} must fall, as in 8,4,2")
        if not self.skip and self.skip_strides != (4,):
            raise UsageError(f"model.skip_strides={strides} needs model.skip; turn it on, or leave the strides out")
