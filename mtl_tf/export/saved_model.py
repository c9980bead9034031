"""SavedModel: a folder that answers without this project's code."""

import pathlib

import tensorflow as tf

from mtl_tf.atomic import swapping_folder
from mtl_tf.config import Config
from mtl_tf.errors import UsageError
from mtl_tf.inference.predictor import ASSET, answer_module, tasks_to_json
from mtl_tf.plain_paths import plain_path
from mtl_tf.training.trained_run import epoch_of_weights, is_saved_model, read_configuration


def export_run(config: Config) -> str:
    """Exports the best (or averaged) weights of a run.

    The signature `serving_default` takes `image` uint8 (B, H, W, 3) of any size and gives `semseg` int32 (B, H, W)
    class ids and `depth` float32 (B, H, W) metres in the same size; assets/tasks.json holds classes, colours, depth
    range, and which weights these are, of which epoch, in which arithmetic. The functions `fit` and `native` of the
    loaded object also give `semseg_probability`.

    Args:
        config: `run_dir`; `weights`; `precision`; `output`, by default RUN_DIR/export.

    Returns:
        A line that says what was written where.

    Raises:
        UsageError: the run has no weights, or the output folder holds something else or cannot be written.
    """
    run_dir = pathlib.Path(config.run_dir)
    output = pathlib.Path(config.output or run_dir / "export")
    if output.exists() and not is_saved_model(output) and (not output.is_dir() or any(output.iterdir())):
        raise UsageError(f"--output={output} exists and is no SavedModel; choose an empty or new folder")
    module, tasks = answer_module(run_dir, config.weights, config.precision)
    try:
        with swapping_folder(output) as folder:
            asset = folder.with_name(ASSET)
            asset.write_text(_described(tasks, config), encoding="utf-8")
            plain, signatures = plain_path(folder.parent), {"serving_default": _serving(module, tasks)}
            module.description = tf.saved_model.Asset(f"{plain}/{asset.name}")
            tf.saved_model.save(module, f"{plain}/{folder.name}", signatures=signatures)
    except (OSError, tf.errors.OpError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
        raise UsageError(f"cannot write {output}: {reason}") from None
    size = sum(file.stat().st_size for file in output.rglob("*") if file.is_file())
    return f"exported to {output} ({size / 2**20:.0f} MiB)"


def _described(tasks, config):
    return tasks_to_json(
        tasks,
        image_size=read_configuration(pathlib.Path(config.run_dir)).data.image_size,
        weights=config.weights,
        epoch=epoch_of_weights(config),
        precision=config.precision,
    )


def _serving(module, tasks):
    names = [task.name for task in tasks]

    @tf.function(input_signature=module.fit.input_signature, autograph=False)
    def serve(image):
        answers = module.fit(image)
        return {name: answers[name] for name in names}

    return serve
