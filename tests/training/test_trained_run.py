"""The configuration of a run that was trained, with what a command may choose otherwise."""

import pytest

from mtl_tf import flags
from mtl_tf.config import Config, replace
from mtl_tf.data.sets.synthetic import SYNTHETIC
from mtl_tf.errors import UsageError
from mtl_tf.training.run_directory import RunDirectory
from mtl_tf.training.trained_run import configuration_of_run


def test_a_run_of_a_part_of_the_data_is_scored_on_all(tmp_path):
    config = replace(Config(), run_dir=str(tmp_path), data__limit=4)
    with RunDirectory(config) as run:
        run.claim(SYNTHETIC)

    def asked(*more):
        argv = [f"--run_dir={tmp_path}", *more]
        return configuration_of_run(flags.parse(argv), argv)

    assert asked().data.limit == 4 and asked("--data.limit=0").data.limit == 0
    with pytest.raises(UsageError, match=r"--train\.epochs is fixed by the run in .* \(16\); leave it out"):
        asked("--data.limit=0", "--train.epochs=3")
