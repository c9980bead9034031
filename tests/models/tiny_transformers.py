"""Small transformers, `--plugin=tests/models/tiny_transformers.py --model.encoder=tiny_vit`, tiny_swin or tiny_mit."""

import functools

import mtl_tf
from mtl_tf.models.encoders.mit import mit
from mtl_tf.models.encoders.swin import swin
from mtl_tf.models.encoders.vit import KINDS, Design, vit

# Of every kind one of 4 blocks of width 32, with positions learnt on 5x5 patches if they are.
DESIGNS = {
    name: Design(32, 4, 2, **({**kind, "side": 5} if "side" in kind else kind))
    for name, kind in {**KINDS, "dinov3_plus": {**KINDS["dinov3"], "gated": True}}.items()
}
DEPTHS = (2, 2, 2, 2)
BUILDERS = {
    "tiny_vit": functools.partial(vit, "tiny_vit", design=DESIGNS["dinov2"]),
    "tiny_swin": functools.partial(swin, "tiny_swin", 32, DEPTHS),
    "tiny_mit": functools.partial(mit, "tiny_mit", (8, 16, 40, 64), DEPTHS),
}
ENCODERS = [mtl_tf.register(mtl_tf.Encoder(name, build)) for name, build in BUILDERS.items()]
