"""A branch: what stands between the encoder and a head; for one task, or for all."""

from mtl_tf.errors import UsageError
from mtl_tf.models.aspp import build_aspp
from mtl_tf.models.decoder import build_decoder
from mtl_tf.models.recompute import recomputing
from mtl_tf.options import format_value


def build_branch(config, pyramid, path):
    """Encoder features -> ASPP -> decoder feature (B, H/s, W/s, 256), s the last of the skips' strides."""
    aspp = build_aspp(pyramid["last"].shape[-1], config.aspp_rates, config.aspp, f"{path}/aspp")
    skips = [_skip(config, pyramid, stride) for stride in config.skip_strides]
    decoder = build_decoder([skip.shape[-1] for skip in skips], config.skip, f"{path}/decoder")
    aspp, decoder = in_memory(config, aspp), in_memory(config, decoder)
    return decoder([aspp(pyramid["last"]), *skips])


def in_memory(config, part):
    """A part of the network, as it is or in segments that are computed again for the gradient."""
    return recomputing(part) if config.recompute else part


def _skip(config, pyramid, stride):
    """The encoder feature of a stride; where every stage is dilated there is none of stride 8."""
    if f"stride{stride}" not in pyramid:
        there = ", ".join(name.removeprefix("stride") for name in pyramid if name != "last")
        raise UsageError(
            f"model.skip_strides={format_value(config.skip_strides)}: {config.encoder} has no feature of stride "
            f"{stride} at model.dilation={format_value(config.dilation)}, only of {there}; leave it out, or dilate less"
        )
    return pyramid[f"stride{stride}"]
