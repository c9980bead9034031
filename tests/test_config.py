"""The configuration tree: complete, frozen, checked, and compared by what matters to a run."""

import dataclasses
import math
import re
from collections.abc import Mapping

import pytest

from mtl_tf import config as configuration
from mtl_tf.config import Config, DataConfig, ModelConfig, differences, from_values, leaves, replace, values
from mtl_tf.errors import UsageError
from mtl_tf.models.architectures import ARCHITECTURES
from mtl_tf.options import Entry, coerce, format_value
from tests.helpers import methods_for

LEAVES = leaves()


def test_the_defaults_are_those_of_the_study():
    expected = {
        "tasks": (),
        "model.architecture": "joint",
        "model.encoder": "resnet34",
        "model.encoder_weights": "none",
        "model.dilation": (0, 0, 1),
        "model.consistent_dilation": False,
        "model.aspp": True,
        "model.aspp_rates": (3, 6, 9),
        "model.skip": True,
        "loss.weights": (("semseg", 0.5), ("depth", 0.5)),
        "task.depth.loss": "l2",
        "task.depth.space": "linear",
        "optim.name": "sgd",
        "optim.learning_rate": 0.01,
        "optim.momentum": 0.9,
        "optim.beta1": 0.9,
        "optim.beta2": 0.999,
        "optim.epsilon": 1e-8,
        "optim.weight_decay": 1e-4,
        "optim.decoupled": False,
        "optim.schedule": "poly",
        "optim.schedule_power": 0.9,
        "optim.schedule_unit": "epoch",
        "train.epochs": 16,
        "train.batch_size": 4,
        "train.precision": "float32",
        "train.devices": 0,
        "train.best_metric": "total",
        "train.resume": True,
        "train.fresh": False,
        "data.split": "val",
        "augment.scale_min": 1.0,
        "augment.scale_max": 1.0,
        "augment.tilt": 0.0,
        "augment.wiggle": 0.0,
        "augment.reflect": False,
    }
    found = values(Config())
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize("name", LEAVES)
def test_every_option_says_what_it_is(name):
    field = LEAVES[name]
    assert re.fullmatch(r"[a-z0-9_]+(\.[a-z0-9_]+){0,2}", name)
    text = field.metadata["help"]
    # A sentence, which may start with the name of a command or an optimiser.
    assert len(text) > 8 and text.endswith(".") and "\n" not in text
    assert coerce(field, field.default) == field.default
    assert type(coerce(field, field.default)) is type(field.default)
    assert coerce(field, format_value(field.default)) == field.default


def test_leaves_and_values_have_the_same_names_in_the_same_order():
    assert list(LEAVES) == list(values(Config()))
    assert from_values(values(Config())) == Config()


@pytest.mark.parametrize("name", LEAVES)
def test_every_option_is_frozen(name):
    node = Config()
    *above, leaf = name.split(".")
    for part in above:
        node = node[part] if isinstance(node, Mapping) else getattr(node, part)
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(node, leaf, LEAVES[name].default)


def test_configurations_are_values():
    assert Config() == Config() and hash(Config()) == hash(Config())
    assert replace(Config(), train__epochs=2) != Config()


# === Checks ===


@pytest.mark.parametrize("name", [name for name, field in LEAVES.items() if field.metadata["choices"]])
def test_only_choices_are_taken(name):
    field = LEAVES[name]
    single = field.type in (str, int)
    length = min(filter(None, field.metadata["lengths"] or (2,)))
    for choice in field.metadata["choices"]:
        value = choice if single else (choice,) * length
        assert coerce(field, value) == value
    wrong = "nonsense" if isinstance(next(iter(field.metadata["choices"])), str) else 7
    with pytest.raises(UsageError) as error:
        coerce(field, wrong if single else (wrong,) * length)
    for choice in field.metadata["choices"]:
        assert str(choice) in str(error.value)
    assert str(wrong) in str(error.value)


@pytest.mark.parametrize(
    ("name", "bound"),
    [
        (name, bound)
        for name, field in LEAVES.items()
        for bound in ("minimum", "maximum")
        if field.metadata[bound] is not None
    ],
)
def test_bounds_are_inclusive(name, bound):
    field = LEAVES[name]
    limit = field.metadata[bound]
    count = None if field.type in (int, float) else max(field.metadata["lengths"] or (2,))

    def shaped(value):
        if field.type == tuple[Entry, ...]:
            return (Entry("one", value), Entry("other", value))
        return value if count is None else (value,) * count

    assert coerce(field, shaped(limit)) == shaped(limit)
    outside = limit + (1 if bound == "maximum" else -1)
    words = "at least" if bound == "minimum" else "at most"
    with pytest.raises(UsageError, match=f"{words} {re.escape(str(limit))}, got {re.escape(str(outside))}"):
        coerce(field, shaped(outside))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("train.epochs", "two"),
        ("train.epochs", "2.5"),
        ("train.epochs", 2.5),
        ("train.epochs", math.inf),
        ("train.epochs", math.nan),
        ("train.epochs", ""),
        ("train.epochs", None),
        ("optim.learning_rate", "fast"),
        ("optim.learning_rate", "nan"),
        ("optim.learning_rate", "inf"),
        ("optim.learning_rate", math.nan),
        ("optim.learning_rate", (0.1,)),
        ("model.aspp", "yes"),
        ("model.aspp", ""),
        ("model.aspp", "2"),
        ("data.image_size", "64"),
        ("data.image_size", "64,64,3"),
        ("data.image_size", "64,wide"),
        ("data.image_size", 64),
        ("model.dilation", "1,1"),
        ("model.dilation", (0, 0, 2)),
        ("loss.weights", "semseg"),
        ("loss.weights", "semseg:much"),
        ("loss.weights", "a b:1"),
        ("loss.weights", "semseg:-1"),
    ],
)
def test_what_is_no_value_of_an_option_is_refused(name, value):
    with pytest.raises(UsageError) as error:
        coerce(LEAVES[name], value)
    assert LEAVES[name].name in str(error.value) and "\n" not in str(error.value)


def test_a_wrong_weight_is_named():
    with pytest.raises(UsageError, match=r"at least 0\.0, got -1\.0 for depth"):
        coerce(LEAVES["loss.weights"], "semseg:1,depth:-1")
    with pytest.raises(UsageError, match="takes a number, got 'much' for semseg"):
        coerce(LEAVES["loss.weights"], "semseg:much,depth:1")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("train.epochs", " 7 ", 7),
        ("optim.learning_rate", "1e-3", 0.001),
        ("optim.learning_rate", "1", 1.0),
        ("model.aspp", "True", True),
        ("model.aspp", "0", False),
        ("data.image_size", "360,720", (360, 720)),
        ("data.image_size", "360, 720", (360, 720)),
        ("data.image_size", "", ()),
        ("model.aspp_rates", "6", (6,)),
        ("tasks", "depth", ("depth",)),
        ("loss.weights", "depth:2, normals:.5,depth:3", (("depth", 3.0), ("normals", 0.5))),
        ("data.root", "/data/a b=c", "/data/a b=c"),
    ],
)
def test_text_is_converted_to_the_type_of_the_option(name, text, value):
    found = coerce(LEAVES[name], text)
    assert found == value and type(found) is type(value)


def test_values_from_python_are_converted_and_checked_too():
    assert ModelConfig(dilation=[1, 0, 1]).dilation == (1, 0, 1)
    assert DataConfig(image_size=[32.0, 64]).image_size == (32, 64)
    assert type(replace(Config(), optim__learning_rate=1).optim.learning_rate) is float
    names = ", ".join(ARCHITECTURES.built_in)
    with pytest.raises(UsageError, match=rf"architecture takes one of {names}; got 'split'$"):
        ModelConfig(architecture="split")


def test_a_choice_that_is_misspelt_has_a_hint():
    with pytest.raises(UsageError, match=r"got 'brancht': did you mean branched\?$"):
        ModelConfig(architecture="brancht")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(augment__scale_min=1.5, augment__scale_max=0.5), "scale_min=1.5 is above augment.scale_max=0.5"),
        (dict(tasks=("depth", "depth")), "twice"),
        (dict(tasks=("depth",), model__architecture="distilled"), "at least two"),
        (dict(model__aspp_rates=(6, 6)), "twice"),
        (dict(model__encoder_weights=""), "model.encoder_weights is empty; none starts"),
        (dict(model__weights=""), "model.weights is empty"),
    ],
)
def test_options_that_contradict_each_other_are_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        replace(Config(), **changes)


# === Copies and differences ===


def test_replace_changes_only_what_is_named():
    changed = replace(Config(), train__epochs=2, seed=7, loss__depth="l1")
    assert (changed.train.epochs, changed.seed, changed.task["depth"].loss) == (2, 7, "l1")
    before, after = values(Config()), values(changed)
    assert {name for name in before if before[name] != after[name]} == {"train.epochs", "seed", "task.depth.loss"}


# The contract of an existing run: only these may be given other values.
FREE = {
    "run_dir",
    "plugin",
    "input",
    "output",
    "scale",
    "weights",
    "precision",
    "baseline",
    "data.root",
    "data.mix_roots",
    "data.split",
    "data.statistics",
    "data.eigen_crop",
    "data.cache",
    "data.workers",
    "data.prefetch",
    "train.devices",
    "train.checkpoint_every",
    "train.keep_checkpoints",
    "train.resume",
    "train.fresh",
    "train.skip_non_finite",
    "log.every",
    "log.panels_every",
    "log.observed",
    "log.tensorboard",
    "log.profile",
}


# Options of which another value needs that of a second option too.
NOT_ALONE = (
    "augment.scale_min",
    "data.mix_names",
    "data.mix_roots",
    "data.mix_weights",
    "data.mix_classes",
    "optim.step_epochs",
)


def another(field):
    """A value that is allowed and not the default."""
    metadata = field.metadata
    if field.type is bool:
        return not field.default
    if field.type == tuple[Entry, ...]:
        return (*field.default, Entry("other", 2.0))
    if field.type == tuple[str, ...] and not metadata["choices"]:
        return ("other",)
    if isinstance(field.default, tuple):
        if metadata["choices"]:
            other = tuple(reversed(field.default))
            return other if other != field.default else metadata["choices"][:1]
        return (32, 64) if 2 in (metadata["lengths"] or (2,)) else tuple(reversed(field.default))
    if metadata["choices"]:
        return next(choice for choice in metadata["choices"] if choice != field.default)
    if field.default is None:
        return {int: 1, float: 0.5, tuple[float, ...]: (0.5,)}[field.type]
    if field.type is str:
        return field.default + "other"
    return field.default + 1 if metadata["maximum"] is None else 0.5 * (field.default + metadata["maximum"])


@pytest.mark.parametrize("name", [name for name in LEAVES if name not in NOT_ALONE])
def test_differences_name_what_may_not_change_on_an_existing_run(name):
    halves = dict.fromkeys(("optim.momentum", "optim.layer_decay", "task.classes.hardest"), 0.5)
    widths = {"arch.invpt.embed": 8, "arch.invpt.extra": 8, "arch.invpt.project": (8, 16, 24)}
    given = {**halves, **widths, "augment.cutmix_area": (0.1, 0.5)}
    value = given[name] if name in given else another(LEAVES[name])
    before = from_values(methods_for(name))
    changed = replace(before, **{name.replace(".", "__"): value})
    assert values(changed)[name] != values(before)[name]
    found = differences(before, changed)
    assert found == ({} if name in FREE else {name: (values(before)[name], value)})


def test_differences_of_a_mix():
    mix = {"data.mix_names": ("nyuv2", "folder"), "data.mix_roots": ("a", "b"), "data.mix_weights": (2.0, 1.0, 1.0)}
    mix["data.mix_classes"] = ("a=b",)
    fixed = {"data.mix_names", "data.mix_weights", "data.mix_classes"}
    assert set(differences(Config(), from_values(mix))) == fixed


def test_the_free_options_are_the_agreed_ones():
    assert {name for name, field in LEAVES.items() if field.metadata["free"]} == FREE


def test_leaves_of_a_section_are_those_of_the_tree():
    assert list(leaves(ModelConfig, "model.")) == [name for name in LEAVES if name.startswith("model.")]
    assert configuration.leaves(Config()) == LEAVES
