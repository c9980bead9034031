"""PLE: as `cgc`, but the features are mixed after the stem and after each stage (Tang et al., RecSys 2020).

For dense prediction as in LibMTL (Lin and Zhang, JMLR 2023): every expert goes on from the task's own mixture, so that
the shared ones are run once for each task. The first gate sees a thumbnail of the image, the others the mean of what
the stage begins with, see `mtl_tf.models.gates`.
"""

from mtl_tf.models.architectures import Architecture
from mtl_tf.models.family_options import MixtureOptions


def build(config, tasks, backbone):
    """Encoders in stages, a gate for every task and stage, a head for every task."""
    import keras

    from mtl_tf.models.experts import Mixture, own_names, shared_names
    from mtl_tf.models.gates import softmax_gate, thumbnail
    from mtl_tf.models.heads import build_task_head
    from mtl_tf.models.staged import build_stages

    options, image = backbone.options, backbone.image
    shared = [build_stages(backbone, name) for name in shared_names(options.experts)]
    # All tasks have the same image, and so the same of the shared stems.
    stems, small, found = [stages[0].model(image) for stages in shared], thumbnail(image), {}
    for task in tasks:
        own = [build_stages(backbone, name) for name in own_names(task, options.own)]
        x, pyramid = image, {}
        for number, stage in enumerate(own[0]):
            name = f"{task.name}_stage{number}"
            features = [stages[number].model(x) for stages in shared] if number else list(stems)
            features += [stages[number].model(x) for stages in own]
            mean = keras.layers.GlobalAveragePooling2D(dtype="float32", name=f"{name}_mean")
            seen = mean(x) if number else small
            weights = softmax_gate(seen, len(features), f"{task.name}/gate_stage{number}")
            x = Mixture(name=f"{name}_mixture")(weights, features)
            if number:
                pyramid |= {f"stride{stage.stride}": x, "last": x}
        found[task.name] = build_task_head(task, pyramid, options)
    return {"": found}


ARCHITECTURE = Architecture("ple", build, MixtureOptions, copies=True)
