"""A branch for every task, and attention between them: PAD-Net's distillation (Xu et al., CVPR 2018)."""

from mtl_tf.models.architectures import Architecture, branched


def build(config, tasks, backbone):
    """Branched; then every task adds what each other task passes it to its own feature."""
    from mtl_tf.models.distillation import distil

    initial = branched.build(config, tasks, backbone)[""]
    return {"_initial": initial, "": distil(config, initial, list(initial))}


ARCHITECTURE = Architecture("distilled", build, exchanges=True)
