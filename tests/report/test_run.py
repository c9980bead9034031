"""What `main.py report` takes over from an evaluation, and the pictures that it writes."""

import json
import os
import types

import numpy as np
import pytest

from mtl_tf import config as configuration
from mtl_tf.inference.scored import scored
from mtl_tf.report import run as report
from mtl_tf.tasks import cityscapes_tasks
from mtl_tf.training.run_directory import write_table


class Source:
    """A split of one sample, whose picture has so many bytes."""

    ids, labelled = ("1",), {"depth": 1}

    def __init__(self, size):
        self._size = size

    def __len__(self):
        return 1

    def sizes(self, _):
        return {"rgb": self._size}


SOURCE = Source(7)


@pytest.fixture
def config(tmp_path, monkeypatch):
    """Of a run that has been evaluated."""
    config = configuration.replace(configuration.Config(), run_dir=str(tmp_path), data__split="val")
    (tmp_path / "best").mkdir()
    (tmp_path / "best/weights.h5").write_bytes(b"of epoch 1")
    (tmp_path / "run.flags").write_text("")
    monkeypatch.setattr(report, "read_descriptor", lambda _: None)
    monkeypatch.setattr(report, "open_split", lambda *_: SOURCE)
    (tmp_path / "evaluation_val.json").write_text(json.dumps({"scored": scored(config, SOURCE)}))
    write_table(
        tmp_path / "per_image_val.csv", [{"id": f"{folder}/1", "depth.si_log_rmse": 1.0} for folder in "abcdef"]
    )
    return config


def test_scores_of_other_weights_are_not_taken_whatever_the_clock_says(config, tmp_path):
    assert report.is_evaluated(config)
    (tmp_path / "best/weights.h5").write_bytes(b"of epoch 2")
    os.utime(tmp_path / "best/weights.h5", (0, 0))
    assert not report.is_evaluated(config)
    (tmp_path / "evaluation_val.json").write_text("{}")  # of an earlier version
    assert not report.is_evaluated(config)


def test_scores_of_other_data_are_not_taken(config, monkeypatch):
    monkeypatch.setattr(report, "open_split", lambda *_: Source(8))
    assert not report.is_evaluated(config)


def test_each_sample_has_a_picture_of_its_own(config, tmp_path, monkeypatch):
    tasks = cityscapes_tasks()[1:]
    data = types.SimpleNamespace(
        source=types.SimpleNamespace(ids=[f"{folder}/1" for folder in "abcdef"]),
        single=lambda _: {"image": np.zeros((1, 8, 8, 3)), "depth": np.full((1, 8, 8), 9.0)},
    )
    monkeypatch.setattr(report, "EvaluationData", lambda *_: data)
    run = types.SimpleNamespace(descriptor=None, tasks=tasks, answers=lambda _: {"depth": np.full((8, 8), 9.0)})
    shown = report._pictures(config, run, tmp_path, "val")
    assert len(list((tmp_path / "pictures").glob("val_*_?%2F1.png"))) == len(shown) == 6
