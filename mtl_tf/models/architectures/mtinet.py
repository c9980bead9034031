"""MTI-Net: initial predictions at every scale, from coarse to fine, and distillation at each of them.

Vandenhende et al., "MTI-Net: Multi-Scale Task Interaction Networks for Multi-Task Learning", ECCV 2020.
"""

import dataclasses

from mtl_tf.models.architectures import Architecture
from mtl_tf.models.family_options import final_option
from mtl_tf.options import Section, option

STRIDES = (4, 8, 16, 32)  # of the scales


@dataclasses.dataclass(frozen=True)
class Options(Section):
    """Of mtinet."""

    widths: tuple[int, ...] = option(
        (48, 96, 192, 384),
        "Channels at strides 4, 8, 16, 32: features that have more are projected to as many, others, as HRNet's, stay "
        "as they are. Cost grows with the square of channels times tasks.",
        minimum=16,
        lengths=(4,),
        before=(48, 96, 192, 384),
    )
    softmax: str = option(
        "channels",
        "Over what masks of features that go to the next scale sum to one: as many neighbouring channels as there are "
        "tasks, as in the published code, whose results these are, or the tasks, as in the paper.",
        choices=("channels", "tasks"),
        before="channels",
    )
    final: tuple[str, ...] = final_option()
    scale_weight: float = option(
        1.0, "Weight of the prediction at each scale in the loss of a task.", minimum=0.0, before=1.0
    )


def build(config, tasks, backbone):
    """At every scale a feature of each task, which helps at the next finer one; answers of all scales, distilled."""
    from mtl_tf.models.branch import in_memory
    from mtl_tf.models.distillation import distil, final_names
    from mtl_tf.models.heads import build_family_head
    from mtl_tf.models.propagation import build_propagation, build_scale, scales_of

    options, names = backbone.options, [task.name for task in tasks]
    final = final_names("mtinet", options.final, tasks)
    scales = scales_of(config, backbone, dict(zip(STRIDES, options.widths, strict=True)))
    features, distilled, messages = {}, {}, {}
    for stride in reversed(scales):
        x, at = scales[stride], f"/scale{stride}"
        width = x.shape[-1]
        features[stride] = {}
        for name in names:
            given = [x, messages[name]] if messages else [x]
            part = build_scale([each.shape[-1] for each in given], f"{name}{at}/blocks")
            features[stride][name] = in_memory(config, part)(given)
        distilled[stride] = distil(config, features[stride], final, at=at)
        if stride != min(scales):
            part = build_propagation(names, width, options.softmax, at)
            passed = in_memory(config, part)([features[stride][name] for name in names])
            messages = dict(zip(names, passed, strict=True))

    pyramids = {name: {f"stride{stride}": distilled[stride][name] for stride in scales} for name in final}
    answers = {
        name: build_family_head("hrnet", {**pyramid, "last": pyramid[f"stride{max(scales)}"]}, f"{name}/hrnet")
        for name, pyramid in pyramids.items()
    }
    finest = features[min(scales)]
    by_scale = {f"@scale{stride}": found for stride, found in features.items()}
    by_scale[f"@scale{min(scales)}"] = {name: finest[name] for name in final}
    return {"": finest | answers, **by_scale}


def weights(options):
    """Of the labels in the loss of a task."""
    return {"": 1.0} | {f"@scale{stride}": options.scale_weight for stride in STRIDES}


ARCHITECTURE = Architecture("mtinet", build, Options, exchanges=True, weights=weights)
