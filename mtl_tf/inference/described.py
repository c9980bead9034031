"""What an exported network says of itself, as JSON: classes, colours, units and depth range of its tasks."""

import dataclasses
import json

from mtl_tf.errors import UsageError
from mtl_tf.parsing import parse_json
from mtl_tf.tasks import KINDS, Task


def tasks_to_json(tasks: tuple[Task, ...], **about) -> str:
    """Classes, colours and depth range as JSON, with what else is to be told about the network."""
    described = {task.name: {"kind": task.kind, **dataclasses.asdict(task)} for task in tasks}
    return json.dumps({**about, "tasks": described}, indent=1)


def tasks_from_json(text: str) -> tuple[Task, ...]:
    """What `tasks_to_json` wrote, also before tasks had kinds.

    Raises:
        UsageError: a task is of a kind that is not known.
    """
    tasks = []
    for name, entry in parse_json(text)["tasks"].items():
        if "kind" not in entry:
            entry |= {"kind": {"semseg": "classes", "depth": "depth"}[name], "objective": entry.get("loss")}
        if entry["kind"] not in KINDS:
            raise UsageError(
                f"its task {name} is of kind {entry['kind']}, which is not built in ({', '.join(KINDS)} are); name the "
                "file that adds it with --plugin=FILE.py, in Python call mtl_tf.register before mtl_tf.load"
            )
        kind = KINDS[entry["kind"]].task_type
        fields = {field.name for field in dataclasses.fields(kind)}
        tasks.append(kind(**{key: _frozen(value) for key, value in entry.items() if key in fields}))
    return tuple(tasks)


def scale_from_json(text: str) -> str:
    """The scale at which an exported file answers, "fit" or "native"."""
    return {"fit": "fit", "native": "native"}[parse_json(text)["scale"]]


def _frozen(value):
    """The same with tuples for lists."""
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
