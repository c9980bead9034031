"""MTAN: one encoder, and masks by which each task chooses from its stages (Liu et al., CVPR 2019).

Its form on residual networks as in Vandenhende et al., TPAMI 2021; with the encoder segnet that of the paper
(`mtl_tf.models.segnet`). For balancing, which reads from the network which tasks reach a variable, encoder, refinements
and SegNet's decoder are shared, masks and heads are not; LibMTL takes only the encoder for shared.
"""

import dataclasses
import itertools

from mtl_tf.errors import UsageError
from mtl_tf.models.architectures import Architecture
from mtl_tf.models.family_options import dropout_option, head_option
from mtl_tf.options import Section, format_value, option


@dataclasses.dataclass(frozen=True)
class Options(Section):
    """Of mtan."""

    reduction: int = option(
        4,
        "Channels of a stage over those inside of its masks; LibMTL has 1 for resnet18 and resnet34.",
        minimum=1,
        before=4,
    )
    head: str = head_option()
    dropout: float = dropout_option()


def build(config, tasks, backbone):
    """For every task a mask of each stage's end, and a head on what the last one leaves of it."""
    if config.encoder == "segnet":
        from mtl_tf.models.segnet import build_segnet

        _demand_plain(config, backbone.options)
        return {"": build_segnet(tasks, backbone)}

    from mtl_tf.models.branch import in_memory
    from mtl_tf.models.masks import build_refinement

    # === What all tasks share ===
    stages = backbone.stages()
    parted = stages.parted_models()
    x, shared = in_memory(config, stages.models()[0])(backbone.image), []
    for stride, (first, last) in zip(stages.strides[1:], parted, strict=True):
        begun = in_memory(config, first)(x)
        x = in_memory(config, last)(begun)
        shared.append((stride, begun, x))
    refinements = [
        in_memory(config, build_refinement(*widths, f"shared/refinement/stage{number}"))
        for number, widths in enumerate(itertools.pairwise(stages.widths[1:]), 1)
    ]
    return {"": {task.name: _feature(task, backbone, shared, refinements) for task in tasks}}


def _feature(task, backbone, shared, refinements):
    """a_i = m_i * u_i with a mask m_i of [b_i ; a_(i-1) refined], b_i before the last block of stage i, u_i its end."""
    import keras

    from mtl_tf.models.branch import in_memory
    from mtl_tf.models.heads import build_task_head
    from mtl_tf.models.masks import build_mask

    options, pyramid, passed = backbone.options, {}, []
    for number, (stride, begun, end) in enumerate(shared, 1):
        features, channels = [begun, *passed], end.shape[-1]
        widths, inner = [each.shape[-1] for each in features], max(1, channels // options.reduction)
        mask = in_memory(backbone.config, build_mask(widths, inner, channels, f"{task.name}/mask/stage{number}"))
        masked = keras.layers.Multiply(name=f"{task.name}_masked{number}")([mask(features), end])
        pyramid |= {f"stride{stride}": masked, "last": masked}
        if number < len(shared):
            x, step = refinements[number - 1](masked), shared[number][0] // stride
            if step > 1:  # "same" pools what there is of a last window too, as many pixels as the encoder strides to
                x = keras.layers.MaxPooling2D(step, padding="same", name=f"{task.name}_pool{number}")(x)
            passed = [x]
    return build_task_head(task, pyramid, options)


def _demand_plain(config, options):
    """SegNet's form has neither dilation nor options."""
    if any(config.dilation):
        raise UsageError(
            f"model.dilation={format_value(config.dilation)}: model.architecture=mtan undoes every pooling of "
            "model.encoder=segnet, so that none can be traded for dilation; use --model.dilation=0,0,0"
        )
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if value != field.default:
            raise UsageError(
                f"arch.mtan.{field.name}={format_value(value)} is of no use with model.encoder=segnet, which has masks "
                "and heads of its own; leave it out"
            )


ARCHITECTURE = Architecture("mtan", build, Options, copies=True)
