"""Pretrained encoders: which file fits which encoder, and the copy, never partial."""

import pathlib
import warnings

import h5py
import keras
import numpy as np

from mtl_tf.config import ModelConfig
from mtl_tf.errors import UsageError
from mtl_tf.models.encoders.squeeze_excitation import PART


def load_encoder_weights(encoder: keras.Model, config: ModelConfig) -> str:
    """Loads `config.encoder_weights` into an encoder.

    Args:
        encoder: as `build_encoder` makes it.
        config: `encoder` and `encoder_weights`: "none", "imagenet" or a path. A path may be a `keras.applications`
            file of the same network (resnet50_keras), or `best/weights.h5` of a run with the same encoder.

    Returns:
        A line that says what was loaded; empty for "none".

    Raises:
        UsageError: there is no such file, or it does not fit; nothing was changed then.
    """
    source = config.encoder_weights
    if source == "none":
        return ""
    if source == "imagenet":
        tensors, source = _from_keras(config.encoder, "imagenet"), "ImageNet"
    else:
        tensors = _from_file(config.encoder, pathlib.Path(source))
    # A tensor without a place says that the file is of another encoder, whose features the rest would not give.
    ours = {variable.path for variable in encoder.variables}
    surplus = [path for path in tensors if path not in ours]
    if any(PART in path for path in surplus) and not config.squeeze_excitation:
        raise UsageError(
            f"--model.encoder_weights={source} is of an encoder with squeeze-and-excitation; "
            "turn --model.squeeze_excitation on, or use the weights of an encoder without"
        )
    # Files of plain encoders have no tensors of squeeze-and-excitation: these start anew, if all of them are missing.
    added = [variable for variable in encoder.variables if PART in variable.path]
    added = [] if any(variable.path in tensors for variable in added) else added
    taken = [variable for variable in encoder.variables if all(variable is not other for other in added)]
    wrong = [f"{path} is not in the network" for path in surplus]
    for variable in taken:
        found = tensors.get(variable.path)
        if found is None:
            wrong.append(f"{variable.path} is missing")
        elif found.shape != tuple(variable.shape):
            wrong.append(f"{variable.path} is {found.shape}, expected {tuple(variable.shape)}")
    if wrong:
        raise UsageError(_misfit(config.encoder, source, wrong, len(taken) + len(surplus)))
    for variable in taken:
        variable.assign(tensors[variable.path])
    anew = f"; {len(added)} of squeeze-and-excitation start anew" if added else ""
    return f"encoder weights: all {len(taken)} tensors of {config.encoder} from {source}{anew}"


def _misfit(encoder, source, wrong, total):
    shown = "; ".join(wrong[:3]) + ("; ..." if len(wrong) > 3 else "")
    return (
        f"--model.encoder_weights={source} does not fit --model.encoder={encoder}: {len(wrong)} of {total} tensors "
        f"differ ({shown}); use the weights of {encoder}, or the encoder that the weights are of"
    )


def _from_file(encoder, path):
    if not path.is_file():
        raise UsageError(
            f"--model.encoder_weights={path}: no such file; the option takes none, imagenet or the path of an HDF5 file"
        )
    try:
        with h5py.File(path, "r") as file:
            if "encoder" in file:
                return _read(file["encoder"], "encoder")
            keras_file = "layers" in file or "layer_names" in file.attrs
            misnamed = "layers" in file and not path.name.endswith(".weights.h5")
    except OSError:
        raise UsageError(f"--model.encoder_weights={path} is no HDF5 file, or a damaged one") from None
    if not keras_file:
        raise UsageError(
            f"--model.encoder_weights={path} holds neither a run's weights nor those of keras.applications"
        )
    if misnamed:
        raise UsageError(
            f"--model.encoder_weights={path}: Keras reads such a file only if its name ends in .weights.h5; rename it"
        )
    return _from_keras(encoder, str(path))


def _read(group, prefix):
    found = {}
    group.visititems(lambda name, item: found.update({f"{prefix}/{name}": item}) if hasattr(item, "shape") else None)
    return {name: item[()] for name, item in found.items()}


# === keras.applications ===


def _from_keras(encoder, source):
    """Tensors by the names of our variables, which keras.applications gives its layers too."""
    if encoder not in _KERAS_APPLICATIONS:
        raise UsageError(
            f"--model.encoder_weights={source}: there are no keras.applications weights of --model.encoder={encoder}, "
            f"only of {', '.join(_KERAS_APPLICATIONS)}"
        )
    build = _KERAS_APPLICATIONS[encoder]
    # Float32 whatever the policy of the run: the weights are stored so.
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        if source == "imagenet":
            model = _fetch(build, encoder)
        else:
            model = build(include_top=False, weights=None)
            _load(model, source, encoder)
    finally:
        keras.config.set_dtype_policy(policy)
    return {
        f"encoder/{layer.name}/{variable.name}": keras.ops.convert_to_numpy(variable)
        for layer in model.layers
        for variable in layer.variables
    }


def _fetch(build, encoder):
    try:
        return build(include_top=False, weights="imagenet")
    except Exception as error:
        reason = " ".join(str(error).split())[:160]
        raise UsageError(
            f"--model.encoder_weights=imagenet: cannot fetch the weights of {encoder} ({reason}); "
            "give the path of the file instead: --model.encoder_weights=PATH"
        ) from None


def _load(model, path, encoder):
    try:
        with warnings.catch_warnings():
            # What does not fit is said below, in one line.
            warnings.simplefilter("ignore")
            model.load_weights(path)
    except (ValueError, KeyError, OSError) as error:
        wrong = _differences(model, path)
        if wrong:
            raise UsageError(_misfit(encoder, path, wrong, len(model.variables))) from None
        raise UsageError(
            f"--model.encoder_weights={path} does not fit {encoder}: {' '.join(str(error).split())[:200]}"
        ) from None


def _differences(model, path):
    """Layer by layer what a Keras file holds and what the network expects."""
    wrong, counts = [], {}
    with h5py.File(path, "r") as file:
        layers = file.get("layers", {})
        for layer in model.layers:
            # Keras names the layers of a file by their class, numbered in the order of the network.
            kind = {"Conv2D": "conv2d", "BatchNormalization": "batch_normalization"}.get(type(layer).__name__)
            if kind is None:
                continue
            number = counts[kind] = counts.get(kind, -1) + 1
            stored = layers.get(f"{kind}_{number}" if number else kind)
            expected = [tuple(variable.shape) for variable in layer.variables]
            held = {} if stored is None else stored.get("vars", {})
            found = [np.shape(held[name]) for name in sorted(held, key=int)]
            if found != expected:
                wrong.append(f"layer {layer.name} is {found or 'missing'}, expected {expected}")
    return wrong


_KERAS_APPLICATIONS = {"resnet50_keras": keras.applications.ResNet50}
