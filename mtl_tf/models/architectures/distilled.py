"""A branch for every task, and attention between them: PAD-Net's distillation (Xu et al., CVPR 2018)."""

import keras

from mtl_tf.errors import UsageError
from mtl_tf.models.architectures.branched import branched
from mtl_tf.models.attention import build_attention


def distilled(config, tasks, pyramid):
    """Branched; then every task adds what each other task passes it to its own feature."""
    if len(tasks) < 2:
        raise UsageError("model.architecture=distilled exchanges features between tasks and needs at least two")
    initial = branched(config, tasks, pyramid)[""]
    final = {}
    for task in tasks:
        messages = [
            build_attention(f"{task.name}/attention/{other.name}", config.gate_init)(initial[other.name])
            for other in tasks
            if other.name != task.name
        ]
        final[task.name] = keras.layers.Add(name=f"{task.name}_distilled")([initial[task.name], *messages])
    return {"_initial": initial, "": final}
