"""Steps, or parts of steps, of a single image: ASPP's pooled feature has one value a channel."""

import numpy as np
import pytest

from mtl_tf import build_model, cityscapes_tasks
from mtl_tf.commands import main
from mtl_tf.config import ModelConfig
from mtl_tf.training.run_directory import read_table
from tests.helpers import ROOT, weights_of
from tests.models.common import pictures

SCENES = (
    "--data.name=synthetic",
    "--data.synthetic_train=48",
    "--data.synthetic_val=8",
    "--data.image_size=32,64",
    f"--plugin={ROOT / 'tests/models/tiny.py'}",
    "--model.encoder=tiny",
    "--train.epochs=4",
    "--train.average=swa",
    "--log.observed=0",
)


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize(("side", "single"), [(64, ("/pool_bn/",)), (32, ("/aspp/", "encoder/layer4_"))])
def test_only_statistics_of_several_values_move(side, single, recompute):
    """One picture through a distilled network with squeeze-and-excitation; at 32 pixels its deepest stage has one."""
    config = ModelConfig(
        "distilled", "resnet18", dilation=(0, 0, 0), squeeze_excitation=True, recompute=recompute, aspp_rates=(2,)
    )
    model = build_model(config, cityscapes_tasks())
    statistics = {v.path: v for v in model.non_trainable_variables if "moving_" in v.path}
    before = {path: variable.numpy() for path, variable in statistics.items()}
    outputs = model(pictures(1, side, side), training=True)
    assert all(np.isfinite(value).all() and value.numpy().std() > 1e-3 for value in outputs.values())
    still = {path for path, variable in statistics.items() if np.array_equal(variable.numpy(), before[path])}
    assert still == {path for path in statistics if any(part in path for part in single)}


@pytest.mark.slow
def test_single_images_train_about_as_well_as_batches_of_four(tmp_path):
    """Rendered scenes; the average's statistics are measured in the same parts."""
    found = {}
    for name, options in {
        "batch of 4": (),
        "4 parts": ("--train.accumulate=4",),
        "batch of 1": ("--train.batch_size=1",),
    }.items():
        run = tmp_path / name
        assert main(["train", *SCENES, *options, f"--run_dir={run}"]) == 0
        last = read_table(run / "metrics.csv")[-1]
        found[name] = np.array([float(last[each]) for each in ("val_loss", "averaged.depth.si_log_rmse")])
        for file in ("weights.h5", "averaged_weights.h5"):
            pooled = weights_of(run, file)["shared/aspp/pool_bn/moving_variance"]
            # A single value has no variance; the running one stays where it began.
            assert np.allclose(pooled, 1.0) == bool(options), (name, file)
    whole = found.pop("batch of 4")
    for name, scores in found.items():
        assert (scores <= 1.5 * whole).all(), (name, scores, whole)
