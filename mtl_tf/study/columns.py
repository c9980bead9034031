"""What the runs of a study are measured by: the scores of the tasks that they have, losses and costs."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence

from mtl_tf.errors import UsageError, did_you_mean
from mtl_tf.report.scores import OVERALL, Board
from mtl_tf.selection import total_scores
from mtl_tf.study.declaration import PUBLISHED
from mtl_tf.tasks import Metric, Task


@dataclasses.dataclass(frozen=True)
class Column:
    """A number of a run.

    Attributes:
        head: over a table, with the unit.
        said: its name in a sentence.
        digits: decimals.
        per: what a number is divided by before it is shown.
        higher: whether more is better; None: neither.
    """

    head: str
    said: str = ""
    digits: int = 2
    per: float = 1.0
    higher: bool | None = None

    def show(self, value: float) -> str:
        """A number as text."""
        return f"{value / self.per:.{self.digits}f}"

    def gain(self, value: float) -> float:
        """The value, larger being better."""
        return value if self.higher else -value


@dataclasses.dataclass(frozen=True)
class Drawn:
    """How a number is drawn over time.

    Attributes:
        title: of the chart, with the unit.
        by_epoch: column of metrics.csv.
        by_step: column of steps.csv; empty: there are only numbers by epoch.
        log: whether its axis is logarithmic.
    """

    title: str
    by_epoch: str
    by_step: str = ""
    log: bool = False


LOSSES = {
    "train_loss": Column("train loss", "training loss", 4, higher=False),
    "val_loss": Column("val loss", "validation loss", 4, higher=False),
    "val_loss_unweighted": Column("val loss, unweighted", "validation loss, unweighted", 4, higher=False),
}
DELTA = "delta_m"
_OTHERS = {DELTA: Column("delta_m, %", "delta_m", higher=True), "loss": Column("loss", digits=4)}
COSTS = {
    "parameters": Column("parameters, M", per=1e6),
    "multiply_adds": Column("multiply-adds at 256x256, G", per=1e9),
    "checkpoint_mib": Column("checkpoint, MiB", "checkpoint size", 1, higher=False),
    "peak_memory_mib": Column("peak memory, MiB", digits=0),
    "images_per_second": Column("training images/s", digits=1),
    "seconds": Column("run time", "run time", higher=False),
}
# Published name -> our column, and how many of ours it is. The report's validation loss is the plain sum.
_PUBLISHED_AS = {"hours": ("seconds", 3600.0), "val_loss": ("val_loss_unweighted", 1.0)}
_TOTAL, *_AFTER_TASKS = (metric.name for metric in OVERALL)


class Columns:
    """The columns of the tables of a study, of any tasks.

    Attributes:
        tasks: whose scores they are.
        leading: task name -> the score that stands for it.
        all: name -> column, in the order of the tables; a score is called TASK.METRIC.
    """

    def __init__(self, tasks: Sequence[Task]):
        self.tasks = tuple(tasks)
        board = Board(self.tasks)
        self.leading = dict(zip((task.name for task in self.tasks), board.leading, strict=True))
        overall = {metric.name: Column(metric.name, metric.name, higher=metric.higher) for metric in OVERALL}
        scores = {}
        owners = Counter(label for task in self.tasks for label in {board.describe(n).label for n in _names(task)})
        for task in self.tasks:
            taken = set()
            for name in _names(task):
                metric = board.describe(name)
                label = metric.label if owners[metric.label] == 1 else f"{task.name} {metric.label}"
                scores[name] = _column(metric, f"{label} ({metric.name})" if label in taken else label)
                taken.add(label)
        measured = {task.name: {metric.name: 1.0 for metric in task.metrics} for task in self.tasks}
        self._lacking = {name for name, value in total_scores(self.tasks, measured).items() if value is None}
        first = {_TOTAL: overall[_TOTAL]}
        self.all = first | scores | {name: overall[name] for name in _AFTER_TASKS} | LOSSES | _OTHERS | COSTS

    @property
    def scores(self) -> list[str]:
        """Those that an outcome has as scores."""
        return [name for name in self.all if name not in _OTHERS and name not in COSTS]

    @property
    def standing(self) -> str:
        """The score that stands for a whole network: the total, or that of the only task."""
        return next(iter(self.leading.values())) if len(self.leading) == 1 else _TOTAL

    @property
    def main(self) -> list[str]:
        """The score that stands for each task, and the total."""
        return [*self.leading.values(), _TOTAL]

    def shown(self, asked: Iterable[str]) -> list[str]:
        """The columns of a table: of a task its leading score, and those that are asked for."""
        wanted = {*self.leading.values(), *asked}
        return [name for name in self.all if "." not in name or name in wanted]

    def find(self, name: str) -> str | None:
        """The column that a declaration means: by its own name, that of the published study, or METRIC alone.

        Raises:
            UsageError: several tasks have such a metric.
        """
        if name in self.all:
            return name
        if PUBLISHED.get(name) in self.all:
            return PUBLISHED[name]
        found = [column for column in self.all if column.endswith(f".{name}")]
        if len(found) > 1 and name not in PUBLISHED:
            raise UsageError(f"{name!r} is a score of several tasks; choose one of {', '.join(found)}")
        return found[0] if len(found) == 1 else None

    def published(self, name: str) -> tuple[str, float]:
        """The column of a published figure, and how many of its units the figure counts in; else its own name."""
        column, factor = _PUBLISHED_AS.get(name, (name, 1.0))
        return self.find(column) or name, factor

    def ranked(self, names: Sequence[str]) -> list[str]:
        """The columns whose published order is compared; where none is named, the total and the score of each task.

        Raises:
            UsageError: there is no such column, or neither way is better.
        """
        better = [name for name, column in self.all.items() if column.higher is not None]
        found = [self._demanded(name, better) for name in names]
        return [self.published(name)[0] for name in found if name] if names else [_TOTAL, *self.leading.values()]

    def chosen_by(self, name: str) -> str:
        """The score that a choice goes by; where none is named, the one that stands for a whole network.

        Raises:
            UsageError: there is no such score, or neither way is better.
        """
        known = [score for score in self.scores if self.all[score].higher is not None and score not in self._lacking]
        found = self._demanded(name, known) if name else self.standing
        if found is None:
            raise UsageError(f"{name!r} is of no task of this study; {self._choices(known)}")
        return found

    def drawn(self, name: str) -> Drawn | None:
        """How a number is drawn; None of a score of the published study that these tasks have not.

        Raises:
            UsageError: there is no such number.
        """
        if name == "loss":
            return Drawn("Training loss", "train_loss", "loss", log=True)
        known = [score for score in self.scores if score != "train_loss" and score not in self._lacking]
        column = self._demanded(name, ["loss", *known])
        if column is None:
            return None
        said = self.all[column].said if column in LOSSES else self.all[column].head
        title = f"{said[0].upper()}{said[1:]}" if "." not in column else said
        return Drawn(f"{title} ({self._sum()})" if column == _TOTAL else title, column, log=column in LOSSES)

    def _sum(self):
        """What the total adds up and takes away."""
        terms = [self.all[name] for name in self.leading.values()]
        return "".join(f" {'+' if term.higher else '-'} {term.said}" for term in terms).strip().removeprefix("+ ")

    def _demanded(self, name, known):
        """The column that a name means; None where only the published study, with other tasks, has it."""
        column = self.find(name)
        if column in known:
            return column
        if name in PUBLISHED or column in self._lacking:
            return None
        raise UsageError(f"{name!r}; {did_you_mean(name, known) or self._choices(known)}")

    def _choices(self, known):
        """What there is, without all scores of every task."""
        plain = [name for name in known if "." not in name and name not in self._lacking]
        examples = ", ".join(self.leading.values())
        return f"there are {', '.join(plain)} and TASK.METRIC" + (f", for example {examples}" if examples else "")


def _names(task):
    return [f"{task.name}.{metric.name}" for metric in task.metrics]


def _column(metric: Metric, label: str) -> Column:
    unit = metric.unit.strip()
    return Column(f"{label}, {unit}" if unit else label, label, metric.digits, higher=metric.higher)
