"""Damaged files that say what is searched; apart from the other configuration, since Keras Tuner brings TensorFlow."""

import itertools
import math

from mtl_tf import config as configuration
from mtl_tf.tuning.space import read_space
from tests.mutations import mutate
from tests.safety.configuration import LEAVES, check
from tests.safety.trees import damage_tree, pick, toml_bytes

SPACES = [
    {"optim.name": ["sgd", "adam"], "optim.learning_rate": {"low": 1e-4, "high": 0.1, "scale": "log"}},
    {"train.batch_size": {"low": 2, "high": 16, "step": 2}, "model": {"dilation": ["0,0,1", "0,1,1"]}},
    {"train.batch_size": {"values": [2, 4], "multiply": {"train.epochs": [0.5, 1]}}, "loss": {"depth": ["l1", "l2"]}},
    {"seed": {"low": 0, "high": 9}, "optim.momentum": {"low": 0.1, "high": 0.9, "step": 0.2}, "model.aspp": [True]},
]


def search(random, place):
    """Files that say what is searched; a sound one gives configurations, or says why not."""
    file = place / "space.toml"
    content = toml_bytes(random, damage_tree(random, pick(random, SPACES), keys=tuple(LEAVES)))
    file.write_bytes(mutate(random, content) if random.random() < 0.3 else content)
    space = read_space(str(file))
    assert space.names and all(configuration.field_of(name) for name in space.names)
    values = {}
    for dimension in space.dimensions:
        assert dimension.values or (math.isfinite(dimension.low) and dimension.low < dimension.high < math.inf)
        values[dimension.name] = pick(random, dimension.values or (dimension.low, dimension.high))
    assert space.hyperparameters().space
    check(space.apply(configuration.Config(), values), place)
    for combination in itertools.islice(space.combinations(), 3):
        check(space.apply(configuration.Config(), combination), place)


CASES = {"search": search}
