"""What scores are of: every file of scores states it, and what differs in it is neither overwritten nor compared."""

import contextlib
import hashlib
import json
import os
import pathlib
import re

from mtl_tf.atomic import file_name
from mtl_tf.config import Config, replace
from mtl_tf.data.descriptors import read as read_descriptor
from mtl_tf.data.fingerprint import fingerprint
from mtl_tf.data.sets import open_split
from mtl_tf.errors import UsageError
from mtl_tf.parsing import parse_json
from mtl_tf.storage import files
from mtl_tf.training.run_directory import SAMPLES_FILE
from mtl_tf.training.trained_run import read_configuration, weights_checksum

POSITION_BASELINE = "position baseline"
# Of what gave the answers; the rest says what they are compared with.
_OF_ANSWERS = ("weights", "weights_sha256", "precision")
_MARKED = re.compile("_(eigen|averaged|mixed_bfloat16|[0-9a-f]{8})_*$")


def scored(config: Config, source) -> dict:
    """What a network is scored on, and which it is, as JSON.

    Args:
        config: of the run.
        source: the samples of `data.split`.
    """
    data = config.data
    return {
        "data": data.name,
        "split": data.split,
        "images": len(source),
        "limit": data.limit,
        "samples": _digest(source),
        "size": list(data.image_size) or None,
        "fit": data.fit,
        "eigen_crop": data.eigen_crop,
        "weights": config.weights,
        "weights_sha256": weights_checksum(config),
        "precision": config.precision,
    }


def of_baseline(stated: dict) -> dict:
    """The same of the position baseline."""
    return {name: value for name, value in stated.items() if name not in _OF_ANSWERS} | {"weights": POSITION_BASELINE}


def compared_with(scores: dict) -> str | None:
    """What scores are of but for the network, as a text: only what has the same may stand side by side.

    Args:
        scores: of a file of scores; None where that does not state it, as those of earlier versions.
    """
    stated = scores.get("scored")
    if not isinstance(stated, dict):
        return None
    same = {name: value for name, value in stated.items() if name not in _OF_ANSWERS}
    units = {name: value for name, value in scores.items() if name.endswith("_unit")}  # see `Task.stated`
    return json.dumps([same, scores.get("num_images"), units], sort_keys=True)


def told(scores: dict) -> tuple[str, str]:
    """In words what scores are of: images, size and crop; and what gave the answers."""
    stated = scores.get("scored") or {"split": scores.get("split"), "weights": "earlier version"}
    count = scores.get("num_images") or stated.get("images")
    parts = [f"{count} images of split {stated.get('split')}" if count else f"split {stated.get('split')}"]
    if size := stated.get("size"):
        parts.append(f"{size[0]}x{size[1]}, {stated['fit']}")
    if stated.get("eigen_crop"):
        parts.append("depth in Eigen's crop")
    answers = {"best": "best weights", "averaged": "averaged weights"}.get(stated["weights"], stated["weights"])
    if stated.get("precision", "float32") != "float32":
        answers += f", {stated['precision']}"
    return "; ".join(parts), answers


def scores_suffix(config: Config) -> str:
    """What stands in the names of files with scores: the split, and what is not as usual of data, crop and network."""
    usual = {"best", "float32"}
    return "_".join((data_suffix(config), *(name for name in (config.weights, config.precision) if name not in usual)))


def data_suffix(config: Config) -> str:
    """The same without the network."""
    split = file_name(config.data.split)
    if _MARKED.search(f"_{split}"):
        split += "_"  # a split may be called as what is marked below
    return "_".join([split, *_other_data(config), *(["eigen"] if config.data.eigen_crop else [])])


def _other_data(config):
    """A mark of data that are not those of the run; none where they are, wherever they lie by now."""
    trained = read_configuration(pathlib.Path(config.run_dir)).data
    if _place(trained.root) == _place(config.data.root):
        return []
    descriptor = read_descriptor(config.run_dir)
    with contextlib.suppress(UsageError, OSError, ValueError, KeyError, TypeError):
        known = parse_json((pathlib.Path(config.run_dir) / SAMPLES_FILE).read_text("utf-8"))["validation"]
        at = replace(config, data__split=trained.val_split)
        if fingerprint(open_split(at, trained.val_split, descriptor)) == known:
            return []
    return [_digest(open_split(config, config.data.split, descriptor))[:8]]


def _place(root):
    return root if files.is_remote(root) or not root else os.path.realpath(root)


def _digest(source):
    return hashlib.sha256(json.dumps(fingerprint(source), sort_keys=True).encode()).hexdigest()[:16]
