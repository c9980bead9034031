"""A step for which memory does not suffice."""

from unittest import mock

import pytest
import tensorflow as tf

from mtl_tf import config as configuration
from mtl_tf.errors import UsageError
from mtl_tf.training import trainer
from mtl_tf.training.memory import naming_what_to_lower
from mtl_tf.training.step import TrainingStep
from tests.faults import small
from tests.faults.poison import TOO_MANY, poisoned
from tests.helpers import assert_same_run, state_of

OOM = tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[8,64,512,1024] on GPU:0")


def told(error, **options):
    config = configuration.replace(configuration.Config(), **options)
    with pytest.raises(UsageError) as found, naming_what_to_lower(config, lambda: "at step 7; nothing is saved"):
        raise error
    assert "\n" not in str(found.value)
    return str(found.value)


def test_says_what_to_lower_with_what_it_is():
    line = told(OOM, train__batch_size=16, data__crop_size=(512, 1024))
    assert "out of memory at step 7; nothing is saved" in line
    for words in (
        "a smaller --train.batch_size (now 16)",
        "a larger --train.accumulate (now 1, at most 16)",
        "a smaller --data.crop_size (now 512,1024)",
        "--model.recompute",
        "--train.precision=mixed_bfloat16",
    ):
        assert words in line
    assert "--data.image_size (now 96,192)" in told(MemoryError(), data__image_size=(96, 192))
    line = told(OOM, train__batch_size=8, train__accumulate=4, train__devices=2)
    assert (
        "--train.batch_size (now 8)" in line and "--train.accumulate" not in line
    )  # parts of one image on each device
    rest = told(OOM, train__batch_size=1, model__recompute=True, train__precision="mixed_float16")
    assert rest.endswith("start a new run with a smaller --data.crop_size (now whole pictures)")


def test_a_full_disk_is_not_taken_for_it():
    error = tf.errors.ResourceExhaustedError(None, None, "events.out; No space left on device")
    with pytest.raises(tf.errors.ResourceExhaustedError), naming_what_to_lower(configuration.Config(), str):
        raise error


@pytest.mark.slow
def test_a_network_that_cannot_be_built_says_it_too(tmp_path, monkeypatch, capsys):
    dataset = small.small_dataset(tmp_path / "data")
    monkeypatch.setattr(trainer, "build_model", lambda *_: tf.fill([TOO_MANY], 0.0))
    assert small.train(dataset, tmp_path / "run") == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "out of memory before the first step" in line and "--train.batch_size (now 2)" in line


def failing_in_python():
    step, calls = TrainingStep.__call__, []

    def fail_at_the_third(self, *arguments):
        calls.append(1)
        if len(calls) == 3:
            raise MemoryError("Unable to allocate 3.00 GiB")
        return step.__get__(self, TrainingStep)(*arguments)

    return mock.patch.object(TrainingStep, "__call__", fail_at_the_third)


def failing_in_tensorflow():
    """An allocation that does fail, within the graph of the step."""
    return poisoned("memory", 7)  # the sample is in the third step


@pytest.mark.slow
@pytest.mark.parametrize("failing", [failing_in_python, failing_in_tensorflow])
def test_a_run_ends_with_status_2_and_continues_from_its_last_checkpoint(tmp_path, capsys, failing):
    dataset = small.small_dataset(tmp_path / "data")
    assert small.train(dataset, tmp_path / "whole") == 0
    with failing():
        assert small.train(dataset, tmp_path / "run", "--train.checkpoint_every=2") == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "out of memory at step 3; step 2 is the last that is saved" in line and "--train.batch_size" in line
    assert state_of(tmp_path / "run")["state/.ATTRIBUTES/VARIABLE_VALUE"][0] == 2
    assert small.train(dataset, tmp_path / "run") == 0
    assert_same_run(tmp_path / "run", tmp_path / "whole")
