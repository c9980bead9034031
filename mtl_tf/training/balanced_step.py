"""The training step in which losses are weighted, or gradients combined, by a method of `mtl_tf.balancing`.

Losses L -> weights a of the losses -> rows a_k g_k, the gradients of each loss by the shared variables -> weights w of
the rows -> direction sum_k w_k a_k g_k. All that weights depend on is summed over replicas and parts of the batch
first, so that every replica has the same weights, those of one device on the whole batch.
"""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mtl_tf.balancing.configured import balance_of
from mtl_tf.balancing.learned import meta_gradient, virtual
from mtl_tf.balancing.methods import initial
from mtl_tf.balancing.rows import products, weighted_sum
from mtl_tf.config import Config
from mtl_tf.models.cut import cut
from mtl_tf.tasks import Task
from mtl_tf.training.averaging import Averaging
from mtl_tf.training.balance_record import BalanceRecord, parts_of
from mtl_tf.training.optimisers import momentum_of
from mtl_tf.training.passes import all_reduced
from mtl_tf.training.sharing import Sharing
from mtl_tf.training.solver import Given, Solver
from mtl_tf.training.step import Computed, TrainingStep, encoder_frozen


@dataclasses.dataclass
class _Solved:
    """What a method made of it.

    Attributes:
        shares: this replica's shares of the losses, [K].
        losses: of the global batch, [K].
        gradients: variable's path -> this replica's share of its gradient.
        weights: of the losses in the shared direction, [K]; NaN where it is no weighted sum.
        gramian: inner products of the raw rows by each shared variable, or feature, float64 [V, K, K]; None = none.
        moved: what of the state has a new value.
        learns: what the scalarizer learns from: "norms" of the rows [K], "meta", its gradient [K], "present" where
            these are not of all tasks.
    """

    shares: tf.Tensor
    losses: tf.Tensor
    gradients: dict
    weights: tf.Tensor
    gramian: tf.Tensor | None = None
    moved: dict = dataclasses.field(default_factory=dict)
    learns: dict = dataclasses.field(default_factory=dict)


class BalancedStep(TrainingStep):
    """A step with `balance.scalarizer` or `balance.aggregator`.

    Args:
        strategy, model, optimizer, tasks, config, averaging: see `TrainingStep`.
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        tasks: Sequence[Task],
        config: Config,
        averaging: Averaging | None = None,
    ):
        self._balance = balance_of(config, tasks)
        self._scalarizer, self._aggregator = self._balance.scalarizer, self._balance.aggregator
        # One part is cut in two where the rows of two batches are asked for.
        parts = max(config.train.accumulate, self._aggregator.batches)
        super().__init__(strategy, model, optimizer, tasks, config, averaging, parts)
        options = config.balance
        self._seed, self._decay, self._every = config.seed, config.optim.weight_decay, options.every
        self._by_layer = options.groups == "layer"
        self._sharing = Sharing(model, tasks, self._by_layer)
        shared = self._sharing.shared
        self._specific_by = options.specific_of(self._aggregator)
        self._solver = Solver(self._balance, self._sharing, self._by_layer, self._specific_by)
        self._cut = cut(model, tasks) if options.source == "features" and shared else None
        rows = parts_of(model, shared) if self._cut is None else self._cut.names
        self.record = BalanceRecord(tasks, rows if self._balance.aggregates else ())
        self.needs_second_batch = self._scalarizer.needs_meta
        self._state = self._initial_state()
        idle = ["balance.aggregator has nothing to combine"] if self._balance.aggregates else []
        idle += ["balance.scalarizer has nothing to learn from"] if self._scalarizer.needs_norms else []
        nothing = not self._sharing.any_of(self.trained(config.train.freeze_encoder == -1))
        self.told = f"no trained parameter is shared: {', '.join(idle)}" if nothing and idle else ""

    # === State ===

    def _initial_state(self):
        """Variables by the names of the methods' state, and the weights that later steps use again."""
        shapes = [(len(self._tasks), *shape) for shape in self._sharing.shapes]
        aggregator = initial(self._balance.state["aggregator"], shapes)
        if self._by_layer:
            groups = self._sharing.group_count
            aggregator = {name: np.broadcast_to(each, (groups, *each.shape)) for name, each in aggregator.items()}
        values = {"scalarizer": initial(self._balance.state["scalarizer"]), "aggregator": aggregator}
        if self._every > 1:
            values["held"] = np.array(self._balance.preference)  # as with fixed weights, until there are others
        return tf.nest.map_structure(_variable, values)

    @property
    def variables(self) -> list[tf.Variable]:
        """See `TrainingStep.variables`."""
        return tf.nest.flatten(self._state)

    @property
    def tracked(self) -> dict[str, Any]:
        """See `TrainingStep.tracked`."""
        held = {name: value for name, value in self._state.items() if tf.nest.flatten(value)}
        return {"balance": held} if held else {}

    def at(self, step: int, second: dict | None = None) -> dict[str, Any]:
        """See `TrainingStep.at`."""
        found = {"number": tf.constant(step, tf.int64), "reuse": step % self._every != 0}
        return found if second is None else {**found, "second": second}

    def demand_allowed(self, losses: dict[str, float]):
        """See `TrainingStep.demand_allowed`."""
        self._balance.demand_allowed({task.name: losses[f"loss_{task.name}"] for task in self._tasks})

    def end_epoch(self):
        """Moves the state of methods that count epochs."""
        state = tf.nest.map_structure(tf.convert_to_tensor, self._state)
        _assign(self._state["scalarizer"], self._balance.epoch_end(state)["scalarizer"])

    # === A step ===

    def _computed(self, batch, scale, frozen, number, reuse, second=None):
        variables = self.trained(frozen)
        counts = self._passes.counts(batch)
        seed = tf.stack([tf.constant(self._seed, tf.int64), number])
        state = tf.nest.map_structure(tf.convert_to_tensor, self._state)
        draws = self._balance.draws(seed, self._sharing.shapes)
        work = Given(batch, counts, self._present(counts), scale, variables, state, seed, draws)
        aggregates = self._balance.aggregates and self._sharing.any_of(variables)
        if not (aggregates or self._scalarizer.needs_meta):
            solved = self._by_losses(work)
        elif reuse:
            solved = self._by_losses(work, state["held"])
        elif self._cut:
            solved = self._by_features(work)
        else:
            solved = self._by_rows(work, second)
        shares = {task.name: share for task, share in zip(self._tasks, tf.unstack(solved.shares), strict=True)}
        squares, gradients = self._finished([solved.gradients[v.path] for v in variables], variables)
        if solved.gramian is not None and not self._cut:
            squares = _broken_rows_marked(
                squares, solved.gramian, [self._sharing.shared.get(v.path) for v in variables]
            )
        if "meta" in solved.learns:  # float16's loss scale may be too large for the second batch alone
            squares += tf.where(tf.reduce_all(tf.math.is_finite(solved.learns["meta"])), 0.0, np.nan)
        more = {
            "allowed": self._balance.allowed(solved.losses, work.present),
            "shown": self.record.vector(solved.weights, work.present, solved.gramian),
            "moved": solved.moved,
            "learns": {"losses": solved.losses, "present": work.present, **solved.learns},
        }
        return Computed(self._with_total(shares, batch), squares, gradients, more)

    def _present(self, counts):
        return tf.stack([tf.reduce_any(counts[task.name] > 0) for task in self._tasks])

    def _allowed(self, computed):
        return self._first(computed.more["allowed"])

    def _also(self, computed):
        return {"balance": self._first(computed.more["shown"])}

    def _first(self, per_replica):
        """The value of one replica, where all have the same."""
        return self._strategy.experimental_local_results(per_replica)[0]

    def _update(self, computed, batch, frozen):
        done = super()._update(computed, batch, frozen)
        if self.variables:
            with encoder_frozen(self._model, frozen):
                self._strategy.run(self._move_state, args=(computed.more, batch))
        return done

    def _move_state(self, more, batch):
        """After the update: the weights have changed."""
        state = {**tf.nest.map_structure(tf.convert_to_tensor, self._state), **more["moved"]}
        scalarizer, learns = self._scalarizer, dict(more["learns"])
        if scalarizer.needs_norms == ("norms" in learns) and scalarizer.needs_meta == ("meta" in learns):
            if scalarizer.needs_after:
                counts = self._passes.counts(batch)
                learns["losses_after"] = all_reduced(self._passes.losses_alone(batch, counts, self._passes.parts))
            state = self._balance.update(state, **learns)
        _assign(self._state, state)

    # === Weights of losses ===

    def _by_losses(self, work, held=None):
        """One backward pass of the weighted losses.

        Args:
            work: of the step.
            held: the aggregator's weights of an earlier step, which the losses get as well; None = they do not.
        """

        def weigh(losses):
            given = work.state, losses, work.present, work.draws
            a = self._balance.row_weights(*given)
            weights = self._balance.loss_weights(*given) if held is None else tf.cast(a, tf.float64) * held
            return weights, self._solver.specific(work, losses, a, weights)

        early = self._scalarizer.needs_losses or self._specific_by == "log"
        shares, gradients, learns = self._backward(work, weigh, early)
        losses = all_reduced(shares)
        return _Solved(shares, losses, gradients, weigh(losses)[0], learns=learns)

    def _backward(self, work, weigh, early):
        """Shares of the losses [K], and of gradients of the weighted losses {path: gradient}; what is learned from.

        Args:
            work: of the step.
            weigh: gives the weights for shared and for other variables, of the losses of the global batch.
            early: whether these matter to it.
        """
        if not early:
            known = weigh(tf.ones(len(self._tasks)))
        elif self._passes.parts > 1:  # the weights are those of the whole batch
            known = weigh(all_reduced(self._passes.losses_alone(work.batch, work.counts, 0)))
        else:
            known = None
        groups = self._sharing.parted(work.variables)
        kernel = self._sharing.last_kernel if self._scalarizer.needs_norms else ""
        probe = [v for v in work.variables if v.path == kernel]
        shares, gradients, probed = self._passes.weighted(
            *work.given, groups, lambda losses: known or weigh(all_reduced(losses)), probe
        )
        learns = {"norms": tf.stack([tf.norm(row) for (row,) in all_reduced(probed)])} if probed else {}
        paths = [variable.path for group in groups for variable in group]
        return shares, dict(zip(paths, itertools.chain(*gradients), strict=True)), learns

    # === Weights of gradients ===

    def _by_rows(self, work, second):
        """One backward pass a task, whose gradients by the shared variables are combined."""
        shares, halves, own, labelled = self._rows(work)
        losses, count, shared = all_reduced(shares), len(self._tasks), self._sharing.shared
        alone_here = tf.distribute.get_replica_context().num_replicas_in_sync == 1
        reduced = halves if alone_here else all_reduced(halves)
        whole = _mean(reduced, labelled)
        gramian = tf.stack([products(whole.get(path, {}), count) for path in shared])
        a = self._balance.row_weights(work.state, losses, work.present, work.draws)
        if self._aggregator.input == "rows":
            gradients, weights, moved = self._solver.directions(work, whole, losses, a)
        else:
            inner = gramian
            if len(reduced) > 1:
                one, other = reduced
                inner = tf.stack([products(one.get(path, {}), count, other.get(path, {})) for path in shared])
            by_group, weights, moved = self._solver.weights(work, inner, labelled == float(len(halves)), losses, a)
            rows = whole if alone_here else _mean(halves, labelled)
            gradients = {
                path: weighted_sum(row, by_group[self._sharing.groups[shared[path]]]) for path, row in rows.items()
            }
        of_own = tf.cast(self._solver.specific(work, losses, a, weights), tf.float32)
        gradients |= {path: of_own[k] * each for path, row in own.items() for k, each in row.items()}
        learns = {}
        if self._scalarizer.needs_norms:
            of_kernel = gramian[shared[self._sharing.last_kernel]]
            learns["norms"] = tf.cast(tf.sqrt(tf.linalg.diag_part(of_kernel)), tf.float32)
        if second is not None:
            learns |= self._meta(work, whole | all_reduced(own), a, second)
        return _Solved(shares, losses, gradients, weights, gramian, moved, learns)

    def _rows(self, work):
        """Gradients of every loss.

        Returns:
            Shares of the losses, [K]; of the whole batch, or of each of its halves, {path: {task: gradient}} of the
            shared variables; the same of the others, of the whole batch; how many of the halves have labels of each
            task, float32 [K].
        """
        by_task = [self._sharing.reached_by(k, work.variables) for k in range(len(self._tasks))]
        halves = range(2) if self._aggregator.batches == 2 else ()
        counts = [self._passes.counts_of_half(work.batch, half) for half in halves]
        there = [self._present(each) for each in counts] or [work.present]
        labelled = tf.add_n([tf.cast(each, tf.float32) for each in there])
        shares, found = self._passes.by_task(*work.given, by_task, counts)
        rows: list[dict] = [{} for _ in found]
        own: list[dict] = [{} for _ in found]
        for number, by_loss in enumerate(found):
            for k, (variables, gradients) in enumerate(zip(by_task, by_loss, strict=True)):
                for variable, gradient in zip(variables, gradients, strict=True):
                    half = (rows if variable.path in self._sharing.shared else own)[number]
                    half.setdefault(variable.path, {})[k] = gradient
        return shares, rows, _mean(own, labelled), labelled

    def _meta(self, work, whole, a, second):
        """The gradient of learned weights: of a second batch's losses after a virtual step, with momentum.

        Args:
            work: of the step.
            whole: gradients of the global batch, {path: {task: gradient}}.
            a: weights of the losses.
            second: the replica's share of the second batch.
        """
        rows = [whole[variable.path] for variable in work.variables]
        optimiser = [momentum_of(self.optimizer, variable) for variable in work.variables]
        values = [
            virtual(tf.convert_to_tensor(variable), weighted_sum(row, a), buffer, rate, momentum, self._decay)
            for variable, row, (rate, momentum, buffer) in zip(work.variables, rows, optimiser, strict=True)
        ]
        counts = self._passes.counts(second)
        after = self._passes.at_other_values(second, counts, work.scale, work.variables, values)
        rates = [rate for rate, *_ in optimiser]
        meta = meta_gradient(rows, all_reduced(after), rates, len(self._tasks))
        # Of a batch without any label nothing is learned.
        return {"meta": meta, "present": work.present & tf.reduce_any(self._present(counts))}

    def _by_features(self, work):
        """A backward pass of every loss to the features that all share, and one from there."""

        def solve(shares, gramian):
            losses, gramian = all_reduced(shares), all_reduced(gramian)  # of two types, which do not go together
            a = self._balance.row_weights(work.state, losses, work.present, work.draws)
            _, weights, moved = self._solver.weights(work, gramian, work.present, losses, a)
            return weights, (self._solver.specific(work, losses, a, weights), losses, gramian, moved)

        shared, own = self._sharing.parted(work.variables)
        if self._passes.parts > 1:  # the weights are those of the whole batch
            weights, (of_own, *_, gramian, moved) = solve(*self._passes.to_features_alone(*work.given, self._cut, 0))
            shares, gradients, _ = self._backward(work, lambda _: (weights, of_own), False)
            return _Solved(shares, all_reduced(shares), gradients, weights, gramian, moved)
        of_task = [self._sharing.reached_by(k, own) for k in range(len(self._tasks))]
        shares, by_shared, by_own, weights, (of_own, losses, gramian, moved) = self._passes.through_features(
            *work.given, self._cut, shared, of_task, solve
        )
        gradients = {variable.path: gradient for variable, gradient in zip(shared, by_shared, strict=True)}
        for weight, variables, found in zip(tf.unstack(tf.cast(of_own, tf.float32)), of_task, by_own, strict=True):
            gradients |= {v.path: weight * gradient for v, gradient in zip(variables, found, strict=True)}
        return _Solved(shares, losses, gradients, weights, gramian, moved)


def _variable(value):
    return tf.Variable(value, trainable=False, aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA)


def _assign(variables, values):
    for variable, value in zip(tf.nest.flatten(variables), tf.nest.flatten(values), strict=True):
        variable.assign(value)


def _mean(halves, labelled):
    """{path: {task: gradient}} of the whole batch: that of the only one, or the mean of the halves that have labels.

    Args:
        halves: one or two of the same.
        labelled: how many of them have labels of each task, [K].
    """
    if len(halves) == 1:
        return halves[0]
    one, other = halves
    number = tf.maximum(labelled, 1.0)
    return {path: {k: (g + other[path][k]) / number[k] for k, g in row.items()} for path, row in one.items()}


def _broken_rows_marked(squares, gramian, numbers):
    """The squares, not finite where a row of the variable is not, even if it has no weight.

    Args:
        squares: of the gradients of the trained variables.
        gramian: float64 [V, K, K].
        numbers: of these variables in it; None = it has them not.
    """
    broken = ~tf.reduce_all(tf.math.is_finite(gramian), (1, 2))
    parts = tf.unstack(squares)
    for place, number in enumerate(numbers):
        if number is not None:
            own = tf.where(broken[number], tf.constant(np.nan, tf.float32), 0.0)
            parts[place] = tf.where(tf.reduce_any(broken), own, parts[place])
    return tf.stack(parts)
