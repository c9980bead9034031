"""tools/benchmark_balance.py --output=FOLDER: what balancing costs a training step, in turn with the plain step.

For each architecture and number of tasks (those beyond --tasks are copies of them), one process a kind of step:
plain: fixed weights.
scalarizer: weights of losses that are known before the step (dwa).
after: a scalarizer that sees the losses once more after the step (famo).
rows: an aggregator of the gradients by the shared parameters (upgrad).
features: the same by the shared features (upgrad with balance.source=features); distilled networks have none.
meta: weights learned on a second batch (auto_lambda).

The processes stand ready together and are measured in turn, a window of --seconds each, --rounds times, so that what
else the machine does falls on all of them. `ratio` is the median over the rounds of the time of a step over that of
the plain step beside it. `counted` is the same in multiply-adds: forward 1, backward 2 of all that a loss is made of.
`memory` is the peak of a process over that of the plain one. Options of main.py say what network is measured on random
pictures.
"""

import dataclasses
import pathlib
import shlex
import sys

from _benchmark.work import as_many, size_of
from _tool import ROOT, given_options, run_tool
from _turns import Command, take_turns

from mtl_tf.atomic import write_json
from mtl_tf.config import replace
from mtl_tf.data.sets import describe_training
from mtl_tf.errors import UsageError
from mtl_tf.options import Section, option
from mtl_tf.quiet import start_tensorflow
from mtl_tf.training.run_directory import environment, write_table

KINDS = {
    "plain": (),
    "scalarizer": ("--balance.scalarizer=dwa",),
    "after": ("--balance.scalarizer=famo",),
    "rows": ("--balance.aggregator=upgrad",),
    "features": ("--balance.aggregator=upgrad", "--balance.source=features"),
    "meta": ("--balance.scalarizer=auto_lambda",),
}
ARCHITECTURES = ("joint", "branched", "distilled")

# Of the options of main.py.
USES = ("data", "model", "loss", "task", "optim", "train", "tasks", "seed", "output")


@dataclasses.dataclass(frozen=True)
class Options(Section):
    """The tool's own options."""

    architectures: tuple[str, ...] = option(ARCHITECTURES, "Architectures.", choices=ARCHITECTURES)
    task_counts: tuple[int, ...] = option((2, 3, 5), "Tasks.", minimum=2)
    kinds: tuple[str, ...] = option(tuple(KINDS), "Kinds of step; plain is always one.", choices=tuple(KINDS))
    rounds: int = option(5, "Windows of each.", minimum=1)
    seconds: float = option(3.0, "For how long a window is, at least a step.", minimum=0.01)


def balance_costs(parsed):
    """Measures all kinds and writes the table."""
    config, own = parsed.config, parsed.own
    if not config.output:
        raise UsageError("--output=FOLDER is missing: it gets balance.csv and balance.json")
    start_tensorflow()
    folder, rows = pathlib.Path(config.output), []
    folder.mkdir(parents=True, exist_ok=True)
    given = given_options(parsed, without=("output", "model.architecture"))
    for architecture in own.architectures:
        for count in own.task_counts:
            changed = replace(config, model__architecture=architecture)
            counted = counted_costs(changed, as_many(describe_training(config.data).tasks(config), count))
            kinds = ["plain", *(kind for kind in own.kinds if kind != "plain" and kind in counted)]
            print(f"{architecture}, {count} tasks: {', '.join(kinds)}", file=sys.stderr, flush=True)
            options = [*given, f"--model.architecture={architecture}", f"--task_count={count}"]
            for found in _measured(options, kinds, own):
                rows.append({"architecture": architecture, "tasks": count, **found, "counted": counted[found["kind"]]})
                rows[-1]["over_counted"] = round(rows[-1]["ratio"] / rows[-1]["counted"], 3)
                print(_line(rows[-1]), flush=True)
    write_table(folder / "balance.csv", rows)
    write_json(folder / "balance.json", {"rows": rows, "versions": environment()})
    print(f"written to {folder}/balance.csv, balance.json")


def counted_costs(config, tasks) -> dict[str, float]:
    """Multiply-adds of each kind of step over those of the plain one; those that the architecture has.

    Args:
        config: of the network, and of the size of its pictures.
        tasks: of the network.
    """
    import keras

    from mtl_tf.models import build_model
    from mtl_tf.models.costs import multiply_adds
    from mtl_tf.models.cut import cut
    from mtl_tf.models.reach import heads

    model, size = build_model(config.model, tasks, config.arch_options), size_of(config)
    forward = multiply_adds(model, size)
    plain = 3 * forward
    of_losses = [multiply_adds(keras.Model(model.input, heads(model, task)), size) for task in tasks]
    rows = (forward + 2 * sum(of_losses)) / plain
    found = {"plain": 1.0, "scalarizer": 1.0, "after": 4 / 3, "rows": rows}
    try:
        trunk = multiply_adds(cut(model, tasks).trunk, size)
        found["features"] = (forward + 2 * (trunk + sum(each - trunk for each in of_losses))) / plain
    except UsageError:
        pass  # there are no features that all tasks share
    return {name: round(value, 3) for name, value in {**found, "meta": rows + 1}.items()}


def _measured(options, kinds, own):
    """A row for each kind."""
    tool = shlex.join([sys.executable, str(ROOT / "tools" / "benchmark.py"), "--part=train", "--turns", "--norate"])
    commands = {
        kind: Command(
            f"{tool} {shlex.join([*options, *KINDS[kind]])} --seconds={own.seconds}", TF_CPP_MIN_LOG_LEVEL="3"
        )
        for kind in kinds
    }
    try:
        rows = take_turns(commands, own.rounds)
        memory = {kind: command.peak_memory() for kind, command in commands.items()}
    finally:
        for command in commands.values():
            command.close()
    for row in rows:
        kind = row["name"]
        yield {
            "kind": kind,
            "images_per_second": row["images_per_second"],
            "ratio": round(1 / row["ratio"], 3),
            "ratio_least": round(1 / row["ratio_largest"], 3),
            "ratio_largest": round(1 / row["ratio_least"], 3),
            "cpu_ratio": round(1 / row["cpu_ratio"], 3),
            "peak_memory_mb": round(memory[kind] / 2**20, 1),
            "memory": round(memory[kind] / memory["plain"], 3),
        }


def _line(row):
    return (
        f"{row['architecture']:<10} {row['tasks']} tasks  {row['kind']:<11} {row['ratio']:6.2f} x plain "
        f"({row['ratio_least']:.2f} to {row['ratio_largest']:.2f}; counted {row['counted']:.2f}), "
        f"memory {row['memory']:.2f} x ({row['peak_memory_mb']:.0f} MiB)"
    )


if __name__ == "__main__":
    sys.exit(run_tool(balance_costs, Options))
