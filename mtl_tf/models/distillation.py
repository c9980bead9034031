"""Distillation: what tasks make of each other's features, after an initial prediction of each.

Xu et al., "PAD-Net: Multi-Tasks Guided Prediction-and-Distillation Network", CVPR 2018, section 3.3.
"""

from collections.abc import Mapping, Sequence

import keras

from mtl_tf.config import ModelConfig
from mtl_tf.errors import UsageError, did_you_mean
from mtl_tf.models.attention import build_attention, build_gate, build_value
from mtl_tf.models.branch import in_memory
from mtl_tf.options import format_value
from mtl_tf.tasks import Task


def final_names(architecture: str, final: Sequence[str], tasks: Sequence[Task]) -> list[str]:
    """The tasks that distilled features answer, in the order of the network.

    Args:
        architecture: whose option `final` is.
        final: names of tasks; () = all.
        tasks: of the network.

    Raises:
        UsageError: the network has no such task.
    """
    names = [task.name for task in tasks]
    for name in final:
        if name not in names:
            raise UsageError(
                f"arch.{architecture}.final={format_value(final)} takes tasks of the network, "
                f"{', '.join(names)}; got {name!r}: " + did_you_mean(name, names, "add it to --tasks, or leave it out")
            )
    return [name for name in names if name in final] if final else names


def distil(
    config: ModelConfig,
    features: Mapping[str, keras.KerasTensor],
    final: Sequence[str],
    kind: str = "gate_source",
    at: str = "",
) -> dict[str, keras.KerasTensor]:
    """The distilled features of the final tasks.

    With F_t the feature of task t, the sums over all other tasks a, and 3x3 convolutions of their own for each pair:
    `gate_source` F_t + sum sigmoid(conv'(F_a)) conv(F_a), `gate_target` F_t + sum sigmoid(conv'(F_t)) conv(F_a), with
    one gate a task, `add` F_t + sum conv(F_a); `concat` has the features of all tasks side by side.

    Args:
        config: `gate_init` and `recompute`.
        features: (B, h, w, C) of every task by its name, auxiliary ones too.
        final: names of the final tasks.
        kind: see above.
        at: part of the network, where there are several, put behind a task's name in paths, e.g. "/scale8".

    Returns:
        Name of a final task -> (B, h, w, C); of `concat` (B, h, w, T C).
    """
    if kind == "concat":
        # By name, so that the order in which tasks are given has no influence.
        together = keras.layers.Concatenate(name=f"distilled{at}".replace("/", "_"))(
            [features[name] for name in sorted(features)]
        )
        return dict.fromkeys(final, together)
    return {name: _sum_of_messages(config, features, name, kind, f"{name}{at}") for name in final}


def _sum_of_messages(config, features, name, kind, place):
    own, path = features[name], f"{place}/attention"
    channels = own.shape[-1]
    others = {other: feature for other, feature in features.items() if other != name}
    if kind == "gate_source":
        messages = [
            in_memory(config, build_attention(f"{path}/{other}", config.gate_init, channels))(feature)
            for other, feature in others.items()
        ]
    else:
        messages = [build_value(f"{path}/{other}", channels)(feature) for other, feature in others.items()]
    if kind == "gate_target":
        gate = build_gate(path, config.gate_init, channels)(own)
        messages = [
            keras.layers.Multiply(name=f"{place}_gated_{other}".replace("/", "_"))([gate, message])
            for other, message in zip(others, messages, strict=True)
        ]
    return keras.layers.Add(name=f"{place}_distilled".replace("/", "_"))([own, *messages])
