"""What a run may be told besides its steps: averaged weights, when to end early, what to profile."""

import json

import numpy as np
import pytest

from mtl_tf.commands import main
from mtl_tf.inference import load
from mtl_tf.kernels import on_tensorflow
from mtl_tf.training import validation
from mtl_tf.training.run_directory import read_table
from tests.helpers import TINY, command, one_line_error, state_of, weights_of


def train(dataset, run_dir, *more):
    options = ["--data.image_size=32,48", "--log.panels_every=0", "--log.observed=0"]
    return main(["train", *TINY, f"--data.root={dataset}", f"--run_dir={run_dir}", *options, *more])


@pytest.fixture
def scores(monkeypatch):
    """Sets what each validation scores, in their order."""

    def set_scores(*values):
        remaining = list(values)
        monkeypatch.setattr(validation.Validation, "_score", lambda self, evaluation: remaining.pop(0))

    return set_scores


@pytest.mark.slow
def test_patience_ends_a_run_that_has_stopped_improving(tiny_dataset, tmp_path, scores, capsys):
    scores(1.0, 3.0, 2.0, 2.5)
    arguments = ("--train.epochs=6", "--train.patience=2")
    assert train(tiny_dataset, tmp_path / "run", *arguments) == 0
    result = json.loads((tmp_path / "run/metrics.json").read_text())
    assert (result["epochs"], result["best_epoch"], result["steps"]) == (4, 2, 12)
    assert "no better for 2 epochs" in capsys.readouterr().out
    assert train(tiny_dataset, tmp_path / "run", *arguments) == 0
    assert "is finished: 12 steps" in capsys.readouterr().out


@pytest.mark.slow
def test_swa_is_the_mean_of_the_weights_at_the_ends_of_the_last_epochs(tiny_dataset, tmp_path, scores, monkeypatch):
    """Scores rise, so that the weights of each epoch are written; those of the last two are averaged.

    Batch norm's statistics are measured anew, but for those of an encoder that stays as it is.
    """
    scores(1.0, 2.0, 2.0, 3.0, 3.0)
    kept = []
    save = validation.save_weights

    def keep(model, path):
        save(model, path)
        kept.append((path.name, weights_of(path.parents[1], path.name)))

    monkeypatch.setattr(validation, "save_weights", keep)
    run = tmp_path / "run"
    options = ("--train.epochs=3", "--train.average=swa", "--train.swa_start=0.34", "--train.freeze_encoder=-1")
    assert train(tiny_dataset, run, *options) == 0
    assert [name for name, _ in kept] == ["weights.h5"] + ["weights.h5", "averaged_weights.h5"] * 2
    second, third, averaged = kept[1][1], kept[3][1], kept[4][1]
    for name, value in averaged.items():
        mean = (second[name] + third[name]) / 2
        if name.startswith("encoder/"):
            np.testing.assert_array_equal(value, third[name], err_msg=name)
        elif "moving" in name:
            assert np.isfinite(value).all() and not np.allclose(value, mean, rtol=1e-3), name
        else:
            np.testing.assert_allclose(value, mean, rtol=1e-5, atol=1e-7, err_msg=name)
    rows = read_table(run / "metrics.csv")
    assert [bool(row["averaged.total"]) for row in rows] == [False, True, True]
    assert json.loads((run / "metrics.json").read_text())["best_averaged_epoch"] == 3


@pytest.mark.slow
def test_averaged_weights_are_kept_beside_and_used_by_choice(tiny_dataset, tmp_path, capsys):
    run = tmp_path / "run"
    assert train(tiny_dataset, run, "--train.average=ema", "--log.profile=5,6") == 0  # 6 is the last step
    rows = read_table(run / "metrics.csv")
    assert all(row["averaged.semseg.miou"] and row["averaged.semseg.miou"] != row["semseg.miou"] for row in rows)
    assert list((run / "events").glob("**/plugins/profile/*/*.xplane.pb"))
    # Scores do not ask for what a step needs: this batch of 2 in 3 parts, as more devices might have made them.
    flags = run / "run.flags"
    flags.write_text(flags.read_text().replace("--train.accumulate=1", "--train.accumulate=3"))
    for weights, name in (("best", "evaluation_val.json"), ("averaged", "evaluation_val_averaged.json")):
        assert main(["evaluate", f"--run_dir={run}", f"--weights={weights}"]) == 0
        assert f"{weights} weights of" in capsys.readouterr().out
        scored = json.loads((run / name).read_text())
        best = json.loads(
            (run / "best" / ("metrics.json" if weights == "best" else "averaged_metrics.json")).read_text()
        )
        assert scored["depth"]["rmse"] == pytest.approx(best["depth"]["rmse"], rel=1e-5)
    best, averaged = (weights_of(run, name) for name in ("weights.h5", "averaged_weights.h5"))
    assert best.keys() == averaged.keys()
    assert any(not np.array_equal(best[name], averaged[name]) for name in best)

    export = run / "export"
    assert main(["export", f"--run_dir={run}", "--weights=averaged"]) == 0
    described = json.loads((export / "assets" / "tasks.json").read_text())
    assert described["weights"] == "averaged"
    assert described["epoch"] == json.loads((run / "metrics.json").read_text())["best_averaged_epoch"]
    picture = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
    exported, same, other = (load(*of)(picture).depth for of in ((export,), (run, "averaged"), (run, "best")))
    np.testing.assert_allclose(exported, same, rtol=1e-5)
    assert np.abs(exported - other).max() > 1e-3 * np.abs(other).max()


def test_averaged_weights_that_a_run_has_not(tiny_run, capsys):
    assert main(["evaluate", f"--run_dir={tiny_run}", "--weights=averaged"]) == 2
    assert "has no averaged weights: it was trained with --train.average=none" in capsys.readouterr().err


def test_a_profile_of_steps_that_there_are_not(tiny_dataset, tmp_path, capsys):
    assert train(tiny_dataset, tmp_path / "run", "--log.profile=5,7") == 2
    assert "log.profile=5,7 ends after the last step of the run, 6" in one_line_error(2, capsys.readouterr().err)


def test_a_cpu_that_sums_in_sixteen_bits_is_told(tiny_dataset, tmp_path, monkeypatch, capsys):
    assert on_tensorflow.sums_in_float32("float32")
    monkeypatch.setattr(on_tensorflow, "sums_in_float32", lambda dtype: dtype != "bfloat16")
    assert train(tiny_dataset, tmp_path / "run", "--train.precision=mixed_bfloat16", "--train.epochs=1") == 0
    said = "warning: train.precision=mixed_bfloat16: this CPU has no arithmetic of its own for it"
    assert said in capsys.readouterr().out


@pytest.mark.slow
def test_deterministic_kernels_and_recomputed_activations_train_the_whole_way(tiny_dataset, tmp_path):
    """In processes of their own, since determinism stays on; both end with the same bits in weights and state."""
    options = ("--train.deterministic", "--model.recompute", "--train.accumulate=2", "--optim.schedule=one_cycle")
    options = (*options, "--model.aspp")  # whose pooled feature has one value a channel in each part
    for name in ("one", "two"):
        done = command("train", *TINY, *options, f"--data.root={tiny_dataset}", f"--run_dir={tmp_path / name}")
        assert done.returncode == 0, done.stderr
    for read in (weights_of, state_of):
        one, two = read(tmp_path / "one"), read(tmp_path / "two")
        assert one.keys() == two.keys()
        for name, value in one.items():
            np.testing.assert_array_equal(two[name], value, err_msg=name)
