"""The card of an export: what it is, how it was trained and what it is worth, as JSON and as Markdown."""

import pathlib

import keras
import tensorflow as tf

from mtl_tf.atomic import write_json, write_text
from mtl_tf.evaluation import finite
from mtl_tf.export.checking import Comparison
from mtl_tf.export.options import ExportOptions
from mtl_tf.inference.runs import TrainedRun


def write(output: pathlib.Path, content: dict) -> None:
    """Writes a card: card.json and card.md into a SavedModel's folder, FILE.card.json and FILE.card.md beside a file.

    Args:
        output: the export.
        content: of `contents`.
    """
    place = output / "card" if output.is_dir() else output.with_name(f"{output.name}.card")
    write_json(place.with_name(f"{place.name}.json"), content)
    write_text(place.with_name(f"{place.name}.md"), markdown(output.name, content))


def contents(own: ExportOptions, run: TrainedRun, found: Comparison, about: dict) -> dict:
    """What a card says.

    Args:
        own: the options of the export.
        run: that it is of.
        found: how it compares with the run.
        about: further facts.
    """
    config = run.config
    return {
        "format": own.format,
        "quantize": own.quantize,
        **about,
        "same_pixels_percent": found.same,
        "difference_percent": finite(found.error),
        "scores": {
            task.name: {"metric": task.metrics[0].label, **_headlines(task, found)}
            for task in run.tasks
            if task.name in found.run
        },
        "answers": {name: unit for task in run.tasks for name, unit in task.units.items()},
        "trained": {
            "data": config.data.name,
            "architecture": config.model.architecture,
            "encoder": config.model.encoder,
            "image_size": list(config.data.image_size),
            "epochs": config.train.epochs,
            "precision": config.train.precision,
        },
        "versions": {"tensorflow": tf.__version__, "keras": keras.__version__},
    }


def _headlines(task, found):
    metric, sides = task.metrics[0], {"run": found.run, "export": found.export}
    return {name: metric.show(scores[task.name][metric.name]) for name, scores in sides.items()}


def markdown(name: str, content: dict) -> str:
    """A card as Markdown.

    Args:
        name: of the export.
        content: of `contents`.
    """
    trained = content["trained"]
    quantized = "" if content["quantize"] == "none" else f", {content['quantize']}"
    answers = [f"| `{answer}` | {unit} |" for answer, unit in content["answers"].items()]
    size = "x".join(map(str, trained["image_size"]))
    return "\n".join(
        [
            f"# {name}",
            "",
            f"{content['format']}{quantized}; {content['size_mib']:.1f} MiB; {content['latency_ms']:.1f} ms for a "
            f"picture of {content['timed_at']} on the machine that made it.",
            *("", "| answer | what |", "|---|---|", *answers, ""),
            table(content),
            "",
            f"Trained on {trained['data']}: {trained['architecture']}, {trained['encoder']}, {trained['epochs']} "
            f"epochs{f', pictures of {size}' if size else ''}.",
            "",
        ]
    )


def table(content: dict) -> str:
    """How an export compares with its run, as lines of Markdown."""
    rows = [f"| {task} | {row['metric']} | {row['run']} | {row['export']} |" for task, row in content["scores"].items()]
    same = [f"- {answer}: {share:.3f} % of pixels agree" for answer, share in content["same_pixels_percent"].items()]
    other = [
        f"- {answer}: mean difference {'not finite' if share is None else f'{share:.4f} %'}"
        for answer, share in content["difference_percent"].items()
    ]
    beyond = [f"- BEYOND THE BOUND: {fault}" for fault in content["beyond_bounds"]]
    scores = ["| task | score | run | export |", "|---|---|---|---|", *rows, ""] if rows else []
    return "\n".join([f"Compared with the run on {content['compared_on']}:", "", *scores, *same, *other, *beyond])
