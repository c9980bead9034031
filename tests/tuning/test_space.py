"""The space file: what it may say, what it makes of a configuration, and one clear line for every mistake."""

import pytest

from mtl_tf.config import Config, replace
from mtl_tf.errors import UsageError
from mtl_tf.tuning.space import read_space


def space(tmp_path, text):
    path = tmp_path / "space.toml"
    path.write_text(text)
    return read_space(str(path))


def test_lists_ranges_and_steps(tmp_path):
    found = space(
        tmp_path,
        """
        "optim.name" = ["sgd", "adam"]
        "optim.learning_rate" = {low = 1e-4, high = 0.1, scale = "log", step = 10}
        "train.batch_size" = {low = 2, high = 7, step = 2}
        "model.dilation" = ["0,0,1", [0, 1, 1]]
        "model.skip" = [true, false]
        "loss.depth_weight" = {low = 0.1, high = 0.3, step = 0.1}
        """,
    )
    values = {dimension.name: dimension.values for dimension in found.dimensions}
    assert values == {
        "optim.name": ("sgd", "adam"),
        "optim.learning_rate": ("0.0001", "0.001", "0.01", "0.1"),
        "train.batch_size": ("2", "4", "6"),
        "model.dilation": ("0,0,1", "0,1,1"),
        "model.skip": ("true", "false"),
        "loss.depth_weight": ("0.1", "0.2", "0.3"),
    }
    assert found.size == 2 * 4 * 3 * 2 * 2 * 3


def test_quoted_names_and_tables_of_toml_are_the_same(tmp_path):
    quoted = space(tmp_path, '"optim.name" = ["sgd", "adam"]\n"model.skip" = [true]')
    nested = space(tmp_path, 'optim.name = ["sgd", "adam"]\n[model]\nskip = [true]')
    assert quoted == nested


def test_the_grid_has_every_combination_once_with_the_last_option_fastest(tmp_path):
    found = space(tmp_path, '"optim.name" = ["sgd", "adam"]\n"train.batch_size" = [2, 4, 8]')
    assert [tuple(values.values()) for values in found.combinations()] == [
        ("sgd", "2"),
        ("sgd", "4"),
        ("sgd", "8"),
        ("adam", "2"),
        ("adam", "4"),
        ("adam", "8"),
    ]


def test_values_become_a_configuration(tmp_path):
    found = space(
        tmp_path,
        """
        "optim.learning_rate" = {low = 1e-4, high = 0.1, scale = "log"}
        "model.dilation" = ["0,0,1", "0,1,1"]
        "model.skip" = [true, false]
        """,
    )
    values = {"optim.learning_rate": 0.00123457, "model.dilation": "0,1,1", "model.skip": "false"}
    config = found.apply(replace(Config(), train__epochs=3), values)
    assert config.optim.learning_rate == 0.00123457
    assert (config.model.dilation, config.model.skip, config.train.epochs) == ((0, 1, 1), False, 3)


def test_epochs_follow_the_batch(tmp_path):
    found = space(tmp_path, '"train.batch_size" = {values = [2, 4, 8], multiply = {"train.epochs" = [0.5, 1, 0.01]}}')
    base = replace(Config(), train__epochs=6)
    epochs = [found.apply(base, values).train.epochs for values in found.combinations()]
    assert epochs == [3, 6, 1]
    assert found.names == ("train.batch_size", "train.epochs")
    # Hyperband's epochs are multiplied in the same way.
    assert found.apply(base, {"train.batch_size": "2", "tuner/epochs": 4}).train.epochs == 2


def test_a_product_without_bound_is_an_error_of_that_trial(tmp_path):
    found = space(tmp_path, '"train.batch_size" = {values = [2], multiply = {"train.epochs" = [1e308]}}')
    with pytest.raises(UsageError, match=r"train\.epochs: its value times a factor of multiply is inf"):
        found.apply(replace(Config(), train__epochs=20), {"train.batch_size": "2"})


def test_values_that_do_not_go_together_are_an_error_of_that_trial(tmp_path):
    found = space(tmp_path, '"model.architecture" = ["joint", "distilled"]\n"tasks" = ["semseg", "semseg,depth"]')
    with pytest.raises(UsageError, match="needs at least two"):
        found.apply(Config(), {"model.architecture": "distilled", "tasks": "semseg"})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('"optim.learning_rat" = [1.0]', ["unknown option 'optim.learning_rat'", "did you mean optim.learning_rate"]),
        ('"learning_rate" = [1.0]', ["did you mean optim.learning_rate"]),
        ("[optimiser]\nname = ['sgd']", ["unknown option 'optimiser'"]),
        ('"optim.name" = []', ["optim.name", "at least one value"]),
        ('"optim.name" = "sgd"', ["list or a range", "--optim.name=sgd"]),
        ('"optim.name" = ["sgd", "lion"]', ["one of sgd, adam, adamw", "lion"]),
        ('"optim.name" = ["sgd", "sgd"]', ["sgd twice"]),
        ('"optim.name" = {low = 1, high = 2}', ["no number", "list"]),
        ('"model.skip" = ["perhaps"]', ["true or false", "perhaps"]),
        ('"train.batch_size" = [2, "many"]', ["whole number", "many"]),
        ('"train.batch_size" = [2.5]', ["whole number", "2.5"]),
        ('"train.batch_size" = [true]', ["train.batch_size takes a whole number", "True"]),
        ('"train.batch_size" = [0]', ["at least 1"]),
        ('"train.batch_size" = {low = 0, high = 4}', ["at least 1"]),
        ('"train.batch_size" = {low = 8, high = 8}', ["low = 8 must be below high = 8"]),
        (
            '"train.batch_size" = {low = 2, high = 8, step = 0}',
            ['train.batch_size: "step" should be a positive number; it is 0'],
        ),
        ('"train.batch_size" = {low = 2, high = 8, step = 1.5}', ["whole numbers", "1.5"]),
        ('"optim.learning_rate" = {low = 0.1}', ['"high" should be a number; it is missing']),
        ('"optim.learning_rate" = {low = "a", high = 1}', ['"low" should be a number; it is "a"']),
        ('"optim.learning_rate" = {low = 0, high = 1, scale = "log"}', ["log scale", "above 0"]),
        (
            '"optim.learning_rate" = {low = 0.1, high = 1, scale = "ln"}',
            ['"scale" should be one of linear, log; it is "ln"'],
        ),
        ('"optim.learning_rate" = {low = 0.1, high = 1, scale = "log", step = 0.1}', ["above 1"]),
        ('"optim.learning_rate" = {low = 0.1, high = 1, step = 1e-9}', ["larger step"]),
        ('"optim.learning_rate" = {low = 0.1, high = 1, steps = 3}', ['unknown key "steps"', "did you mean step?"]),
        ('"optim.learning_rate" = {values = [0.1], high = 1}', ["both values and high"]),
        ('"model.dilation" = ["0,1"]', ["3 values"]),
        ('"run_dir" = ["a", "b"]', ["run_dir cannot be searched"]),
        ('"data.eigen_crop" = [true, false]', ["data.eigen_crop cannot be searched", "do not compare"]),
        ('"data.limit" = [4, 8]', ["data.limit cannot be searched"]),
        ('"train.fresh" = [true, false]', ["train.fresh cannot be searched"]),
        ('"log.every" = [1, 2]', ["log.every cannot be searched"]),
        ('"train.batch_size" = {values = [2, 4], multiply = {"train.epochs" = [1]}}', ["2 factors", "[1]"]),
        (
            '"train.batch_size" = {values = [2], multiply = {"train.epochs" = ["x"]}}',
            ['"multiply.train.epochs" should be 1 factors', 'it is ["x"]'],
        ),
        ('"train.batch_size" = {values = [2], multiply = {"train.epoch" = [1]}}', ["did you mean train.epochs"]),
        ('"train.batch_size" = {values = [2], multiply = {"optim.name" = [1]}}', ["optim.name is no number"]),
        ('"train.batch_size" = {low = 2, high = 4, multiply = {"train.epochs" = [1]}}', ["multiply goes with values"]),
        (
            '"train.batch_size" = {values = [2], multiply = {"train.epochs" = [1]}}\n"train.epochs" = [1, 2]',
            ["searched and also multiplied"],
        ),
        ("", ["names no option"]),
        ('"optim.name" = [', ["is no TOML"]),
    ],
)
def test_every_mistake_is_one_clear_line(tmp_path, text, words):
    with pytest.raises(UsageError) as error:
        space(tmp_path, text)
    message = str(error.value)
    assert "\n" not in message and "space.toml" in message
    assert all(word in message for word in words), message


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UsageError, match="--space=FILE is missing"):
        read_space("")
    with pytest.raises(UsageError, match=r"none\.toml: No such file"):
        read_space(str(tmp_path / "none.toml"))
