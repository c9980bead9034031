"""The training step with balancing as its formulas say it: eager passes, rows in float64, SGD by hand.

Of the code that is tested it takes the methods themselves, as functions of arrays; `tests/balancing` tests these.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mtl_tf.balancing import AGGREGATORS, SCALARIZERS, aggregate, scalarize
from tests.balancing.step import ABSENT, SEED, TASKS, Rig, assert_same_network, batches, network, run

# What all tasks share of the joint network ends with this kernel.
LAST_SHARED = "shared/shared_coarse_conv/kernel"


class ByHand:
    """Steps of the same network.

    Args:
        rig: whose weights and options are taken, before its first step.

    Attributes:
        model: the network.
        state: of the scalarizer and of the aggregator, by name.
    """

    def __init__(self, rig: Rig):
        self.model = network(rig.architecture)
        for variable, theirs in zip(self.model.variables, rig.model.variables, strict=True):
            variable.assign(theirs)
        self._optim, self._parts = rig.config.optim, rig.config.train.accumulate
        self._balance = rig.config.balance
        weights = dict(rig.config.loss.weights)
        self._fixed = np.array([weights[task.name] for task in TASKS])
        self._velocity = {v.path: np.zeros(v.shape) for v in self.model.trainable_variables}
        self.state = {"scalarizer": {}, "aggregator": {}}
        self._held = np.ones(len(TASKS))
        self._joint = rig.architecture == "joint"

    # === Gradients ===

    def _losses(self, batch, counts=None):
        """The loss of each task, of sums over the batch and counts of it, or others."""
        outputs = self.model(tf.cast(batch["image"], tf.float32), training=True)
        found = []
        for number, task in enumerate(TASKS):
            total, count = task.loss(outputs[task.name], tf.constant(batch[task.name]))
            count = float(count) if counts is None else counts[number]
            found.append(total / max(count, 1.0))
        return found

    def _rows(self, batch, counts=None):
        """Losses [K], and {path: [K, ...]} in float64; whom a variable does not reach has None."""
        variables = self.model.trainable_variables
        with tf.GradientTape(persistent=True) as tape:
            losses = self._losses(batch, counts)
        by_task = [tape.gradient(loss, [v.value for v in variables]) for loss in losses]
        rows = {v.path: [None if g[n] is None else g[n].numpy() for g in by_task] for n, v in enumerate(variables)}
        return np.array([float(loss) for loss in losses]), rows

    def _without_trace(self, job, *args):
        """What a job gives that leaves the running statistics as they were."""
        before = [variable.numpy() for variable in self.model.non_trainable_variables]
        found = job(*args)
        for variable, value in zip(self.model.non_trainable_variables, before, strict=True):
            variable.assign(value)
        return found

    def _of_features(self, batch):
        """The gradients of the losses by the features that all tasks share, [K, n]."""
        if self._joint:
            features = [self.model.get_layer("shared_both").output]
        else:
            features = [self.model.get_layer(f"semseg_{name}").input for name in ("coarse_conv", "fine")]
        below = keras.Model(self.model.input, features)
        above = keras.Model([self.model.input, *features], self.model.output)
        image = tf.cast(batch["image"], tf.float32)
        values = keras.tree.flatten(below(image, training=True))
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(values)
            outputs = above([image, *values], training=True)
            losses = []
            for task in TASKS:
                total, count = task.loss(outputs[task.name], tf.constant(batch[task.name]))
                losses.append(total / max(float(count), 1.0))
        zero = tf.UnconnectedGradients.ZERO
        rows = [tape.gradient(loss, values, unconnected_gradients=zero) for loss in losses]
        return np.stack([np.concatenate([each.numpy().ravel() for each in row]) for row in rows])

    # === A step ===

    def step(self, number: int, batch: dict, second: dict | None = None) -> dict[str, np.ndarray]:
        """Makes one: {"losses", "weights" of the losses in the shared direction, "norms" of the shared rows}, [K].

        Args:
            number: of the step, from 0.
            batch: of NumPy arrays.
            second: another, of which learned weights learn.
        """
        counts = _counts(batch)
        present = np.array(counts) > 0
        features = self._without_trace(self._of_features, batch) if self._balance.source == "features" else None
        # === Rows, of the whole batch or of its halves, or parts ===
        kind = AGGREGATORS[self._balance.aggregator]
        parts = max(kind.batches, self._parts)
        pieces = _parts(batch, parts)
        halves = None
        if kind.batches == 2:
            own = [np.sum([_counts(piece) for piece in pieces[half::2]], axis=0) for half in range(2)]
            found = [self._rows(piece, own[n % 2]) for n, piece in enumerate(pieces)]
            losses = sum(np.array(own[n % 2]) * found[n][0] for n in range(parts)) / np.maximum(counts, 1.0)
            halves = [_total([rows for _, rows in found[half::2]]) for half in range(2)]
            rows = _total(halves, 0.5)
            present &= (np.array(own) > 0).all(0)
        else:
            found = [self._rows(piece, counts) for piece in pieces]
            losses, rows = sum(each for each, _ in found), _total([each for _, each in found])
        shared = [path for path, row in rows.items() if sum(each is not None for each in row) > 1]
        # === Their weights ===
        a = self._scalarized(losses, present, number, raw=self._balance.aggregator != "none")
        direct = self._scalarized(losses, present, number, raw=False)
        if self._balance.aggregator == "none":
            weights = specific = direct
            gradients = {path: _combined(rows[path], weights) for path in shared}
        else:
            gradients, weights = self._aggregated(number, rows, halves, shared, features, present, losses, a)
            how = self._balance.specific_of(kind(len(TASKS)))
            specific = {"unweighted": direct, "weighted": weights, "log": a / (losses + 1e-8)}[how]
        gradients |= {path: _combined(row, specific) for path, row in rows.items() if path not in shared}
        # === What learned weights learn of ===
        more = {"norms": np.linalg.norm(_flat(rows, [LAST_SHARED]), axis=1)} if LAST_SHARED in rows else {}
        if second is not None:
            more["meta"] = self._meta(rows, a, second)
        self._descend(gradients)
        if self._balance.scalarizer == "famo":
            after = [self._without_trace(lambda part=part: np.array(self._losses(part, counts))) for part in pieces]
            more["losses_after"] = np.sum(after, axis=0)
        raw = self._balance.aggregator != "none"
        self._scalarized(losses, present, number, raw=raw, state=self.state["scalarizer"], **more)
        return {"losses": losses, "weights": weights, "norms": np.linalg.norm(_flat(rows, shared), axis=1)}

    def _scalarized(self, losses, present, number, raw, state=None, **more):
        """The weights of the losses; of a state that is not given the step does not move that which is kept."""
        state = dict(self.state["scalarizer"]) if state is None else state
        preference = np.ones(len(TASKS)) if raw else self._preference()
        if self._balance.scalarizer == "fixed":
            return np.where(present, preference, 0.0)
        given = self._options(self._balance.scalarizer, "scalarizer")
        rate = {"rate": self._balance.rate} if self._balance.rate else {}
        draws = [SEED, number]
        return scalarize(
            self._balance.scalarizer,
            losses,
            present,
            draws,
            state,
            preference=tuple(preference),
            scale=self._balance.scale,
            **more,
            **rate,
            **given,
        )

    def _aggregated(self, number, rows, halves, shared, features, present, losses, a):
        """{path: direction} of the shared variables, and the weights of the raw losses."""
        balance = self._balance
        if number % balance.every:
            weights = a * self._held
            return {path: _combined(rows[path], weights) for path in shared}, weights
        kind = AGGREGATORS[balance.aggregator](len(TASKS))
        common = {
            "present": present,
            "seed": [SEED, number],
            "preference": tuple(self._preference()),
            "scale": balance.scale,
            **({"losses": losses} if kind.needs_losses or balance.aggregator == "db_mtl" else {}),
            **({"smooth": balance.smooth} if balance.smooth else {}),
            **self._options(balance.aggregator, "aggregator"),
        }
        if balance.aggregator == "graddrop":  # draws for each variable
            directions = {}
            for place, path in enumerate(shared):
                flat = a[:, None] * _flat(rows, [path])
                directions[path], _ = aggregate("graddrop", flat, **(common | {"seed": [SEED + 2**32 * place, number]}))
            return _shaped(directions, rows), np.full(len(TASKS), np.nan)
        if balance.groups == "layer":
            layers = list(dict.fromkeys(path.rpartition("/")[0] for path in shared))
            members = [[path for path in shared if path.rpartition("/")[0] == layer] for layer in layers]
            found = [aggregate(balance.aggregator, _flat(rows, each), **common) for each in members]
            directions = {}
            for paths, (direction, _) in zip(members, found, strict=True):
                directions |= _cut(direction, rows, paths)
            return directions, np.mean([weights for _, weights in found], axis=0)
        flat = _flat(rows, shared) if features is None else features
        if halves:
            flat, common["second"] = (a[:, None] * _flat(half, shared) for half in halves)
        else:
            flat = a[:, None] * flat
        direction, weights = aggregate(balance.aggregator, flat, state=self.state["aggregator"], **common)
        tracked = kind.input == "rows" and "rows" in kind.state  # the weights are those of the averages
        total = weights if tracked else a * weights
        self._held = np.where(present, weights, self._held)
        if features is not None:
            return {path: _combined(rows[path], total) for path in shared}, total
        return _cut(direction, rows, shared), total

    def _preference(self):
        if not self._balance.preference:
            return self._fixed
        chosen = dict(self._balance.preference)
        shares = np.array([chosen[task.name] for task in TASKS])
        return shares * self._fixed.sum() / shares.sum()

    def _options(self, method, what):
        values = vars(self._balance.options[""])
        table = SCALARIZERS if what == "scalarizer" else AGGREGATORS
        return {
            name: value
            for name, value in values.items()
            if value is not None and name in table[method].Options.__dataclass_fields__
        }

    def _meta(self, rows, a, second):
        """-rate <g_k, grad of all losses of the second batch after a virtual step>."""
        variables = self.model.trainable_variables
        before = [variable.numpy() for variable in variables]
        rate, momentum, decay = self._optim.learning_rate, self._optim.momentum, self._optim.weight_decay
        for variable in variables:
            value = variable.numpy()
            step = momentum * self._velocity[variable.path] + _combined(rows[variable.path], a) + decay * value
            variable.assign(value - rate * step)
        counts = _counts(second)
        pieces = _parts(second, self._parts)
        after = _total([self._without_trace(self._rows, piece, counts)[1] for piece in pieces])
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)
        total = {path: _combined(row, np.ones(len(TASKS))) for path, row in after.items()}
        return np.array(
            [
                -rate * sum(np.vdot(row[k], total[path]) for path, row in rows.items() if row[k] is not None)
                for k in range(len(TASKS))
            ]
        )

    def _descend(self, gradients):
        """v = momentum v + g + decay w; w = w - rate v."""
        for variable in self.model.trainable_variables:
            value, path = variable.numpy().astype(np.float64), variable.path
            gradient = gradients[path] + self._optim.weight_decay * value
            self._velocity[path] = self._optim.momentum * self._velocity[path] + gradient
            variable.assign(value - self._optim.learning_rate * self._velocity[path])


def _counts(batch):
    """How many labels of each task a batch has."""
    return [float(task.count(tf.constant(batch[task.name]))) for task in TASKS]


def _parts(batch, number):
    return [{name: value[part::number] for name, value in batch.items()} for part in range(number)]


def _total(parts, factor=1.0):
    """The sum of {path: [K, ...]} over parts."""
    return {
        path: [None if row is None else factor * sum(part[path][k] for part in parts) for k, row in enumerate(rows)]
        for path, rows in parts[0].items()
    }


def _combined(row, weights):
    return sum(float(w) * each.astype(np.float64) for w, each in zip(weights, row, strict=True) if each is not None)


def _flat(rows, paths):
    """[K, n] of float64; 0 where a task does not reach a variable."""
    count = len(TASKS)
    columns = []
    for path in paths:
        size = next(each.size for each in rows[path] if each is not None)
        columns.append([np.zeros(size) if each is None else each.ravel().astype(np.float64) for each in rows[path]])
    return np.concatenate([np.stack(column).reshape(count, -1) for column in columns], axis=1)


def _cut(direction, rows, paths):
    """A flat direction as {path: [...]}."""
    found, start = {}, 0
    for path in paths:
        like = next(each for each in rows[path] if each is not None)
        found[path] = direction[start : start + like.size].reshape(like.shape)
        start += like.size
    return found


def _shaped(directions, rows):
    return {path: flat.reshape(next(e for e in rows[path] if e is not None).shape) for path, flat in directions.items()}


def assert_same_steps(rig: Rig, by_hand: ByHand):
    """Three steps of both: losses, weights and lengths of rows, and what network and state have become.

    Args:
        rig, by_hand: before their first steps.
    """
    shown = batches()
    first = {variable.path: variable.numpy() for variable in rig.model.variables}
    for number, found in enumerate(run(rig, shown)):
        second = shown[(number + 1) % len(shown)] if rig.step.needs_second_batch else None
        expected = by_hand.step(number, shown[number], second)
        assert found["updated"] and found["good"]
        losses = [found[f"loss_{task.name}"] for task in TASKS]
        np.testing.assert_allclose(losses, expected["losses"], rtol=1e-5)
        columns = rig.step.record.columns(found["balance"])
        for task, weight, norm in zip(TASKS, expected["weights"], expected["norms"], strict=True):
            absent = number == ABSENT and task.name == "depth"
            shown_weight, shown_norm = columns[f"weight_{task.name}"], columns.get(f"norm_{task.name}")
            assert (shown_weight is None) == (absent or np.isnan(weight))
            assert shown_weight is None or shown_weight == pytest.approx(weight, rel=1e-4, abs=2e-6)
            if rig.config.balance.source == "parameters":
                assert shown_norm is None or shown_norm == pytest.approx(norm, rel=1e-4, abs=1e-6)
    assert_same_network(rig.model, by_hand.model, first)
    for part in ("scalarizer", "aggregator"):
        for name, value in rig.step.tracked.get("balance", {}).get(part, {}).items():
            if isinstance(value, list):  # an array of each variable, by hand one of all
                value = np.concatenate([each.numpy().reshape(len(TASKS), -1) for each in value], axis=1)
            expected = by_hand.state[part][name]
            scale = np.abs(np.array(expected, float)).max()
            np.testing.assert_allclose(np.array(value), expected, rtol=1e-4, atol=1e-5 * scale, err_msg=name)
