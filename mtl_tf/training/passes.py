"""Forward and backward passes over the parts of a replica's batch: losses, and gradients of them.

Shares of losses are those of the global means, so that they and their gradients add up over parts and replicas.
"""

import itertools
from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from mtl_tf import kernels
from mtl_tf.balancing.rows import products, weighted_sum
from mtl_tf.models.cut import Cut
from mtl_tf.objective import count_of, mean_losses
from mtl_tf.tasks import Task

_ZERO = tf.UnconnectedGradients.ZERO


class Passes:
    """The passes of one step; to be called in a replica's context.

    Args:
        model: as `build_model` makes it.
        tasks: its tasks; K is how many.
        parts: of a replica's batch, that go through the network one after another.
        xla: whether a part's passes are compiled.
        scaled: whether gradients are those of losses times a scale; what is returned is without it.

    Attributes:
        parts: the same.
    """

    def __init__(self, model: keras.Model, tasks: Sequence[Task], parts: int, xla: bool, scaled: bool):
        self._model, self._tasks = model, tuple(tasks)
        self.parts, self._xla, self._scaled = parts, xla, scaled

    # === What sums are divided by ===

    def counts(self, batch: dict) -> dict[str, tf.Tensor]:
        """Of each task, over the global batch."""
        return {task.name: all_reduced(self._count(task, batch)) for task in self._tasks}

    def counts_of_half(self, batch: dict, half: int) -> dict[str, tf.Tensor]:
        """The same over every other part, from number `half`."""
        found = {}
        for task in self._tasks:
            labels = batch[task.name]
            parts = [{task.name: take_part(labels, number, self.parts)} for number in range(half, self.parts, 2)]
            found[task.name] = all_reduced(tf.add_n([self._count(task, part) for part in parts]))
        return found

    def _count(self, task, batch):
        return tf.convert_to_tensor(count_of(task, batch[task.name], self._model.label_weights))

    # === Passes ===

    def of_total(self, batch, counts, scale, variables, weights: dict[str, float]):
        """One backward pass of the losses with fixed weights.

        Args:
            batch: of the replica.
            counts: see `counts`.
            scale: of the losses.
            variables: of Keras.
            weights: of the losses, by the task's name.

        Returns:
            Shares of the losses by the task's name, and of the gradients of the variables.
        """

        def compute(part, counts, scale):
            with tf.GradientTape() as tape:
                losses = self._losses(part, counts)
                scaled = tf.add_n([weights[name] * value for name, value in losses.items()]) * scale
            values = [variable.value for variable in variables]
            # Some may lead to a feature of the encoder that no decoder takes.
            return losses, tape.gradient(scaled, values, unconnected_gradients=_ZERO)

        losses, gradients = self._over_parts(compute, batch, counts, scale)
        return losses, self._unscaled(gradients, scale)

    def losses_alone(self, batch, counts, ago: int):
        """Shares of the losses [K] of passes that change nothing, and draw what those of this step draw.

        Args:
            batch, counts: see `of_total`.
            ago: how many passes of this step have been made.
        """
        number = itertools.count()

        def compute(part, counts):
            with kernels.repeated(ago - next(number)):
                return _vector(self._losses(part, counts))

        return self._over_parts(compute, batch, counts, compiled=False)

    def weighted(self, batch, counts, scale, groups: Sequence[list], weigh: Callable, probe: Sequence = ()):
        """One forward pass, and a backward pass of the weighted losses for each group that has weights of its own.

        Args:
            batch, counts, scale: see `of_total`.
            groups: lists of variables.
            weigh: from this part's shares of the losses to weights [K] for each group; the same tensor for two groups
                is one backward pass.
            probe: variables whose gradients are asked for of each loss alone.

        Returns:
            Shares of the losses [K]; for each group a list of shares of gradients; for each loss a list of those of the
            probed variables.
        """

        def compute(part, counts, scale):
            with tf.GradientTape(persistent=True) as tape:
                losses = _vector(self._losses(part, counts))

            def gradients(variables, weights):
                values = [variable.value for variable in variables]
                return tape.gradient(losses, values, tf.cast(weights, tf.float32) * scale, _ZERO)

            weights = weigh(losses)
            if all(each is weights[0] for each in weights):
                flat = iter(gradients([variable for group in groups for variable in group], weights[0]))
                found = [list(itertools.islice(flat, len(group))) for group in groups]
            else:
                found = [gradients(group, each) for group, each in zip(groups, weights, strict=True)]
            alone = tf.unstack(tf.eye(len(self._tasks))) if probe else []
            return losses, found, [gradients(probe, one) for one in alone]

        losses, found, probed = self._over_parts(compute, batch, counts, scale)
        return losses, *self._unscaled((found, probed), scale)

    def by_task(self, batch, counts, scale, variables: Sequence[list], halves: Sequence[dict] = ()):
        """One forward pass, and a backward pass of each loss.

        Args:
            batch, counts, scale: see `of_total`.
            variables: of each task those that its loss reaches.
            halves: of each half of the parts what its sums are divided by; () = there are no halves.

        Returns:
            Shares of the losses [K], and for each half, or the whole, of each task the shares of its gradients.
        """

        def compute(part, counts, divisors, scale):
            with tf.GradientTape(persistent=True) as tape:
                outputs = self._outputs(part)
                losses = self._means(outputs, part, counts)
                targets = self._means(outputs, part, divisors) if divisors else losses
                targets = [target * scale for target in targets.values()]
            found = []
            for target, reached in zip(targets, variables, strict=True):
                # One after another: else the activation gradients of all tasks may be in memory at once.
                with tf.control_dependencies([tf.group(found[-1])] if found else []):
                    found.append(tape.gradient(target, [v.value for v in reached], unconnected_gradients=_ZERO))
            return _vector(losses), found

        found = []
        for half, divisors in enumerate(halves or ({},)):
            given = batch, counts, divisors, scale
            after = tf.nest.flatten(found)
            found.append(self._over_parts(compute, *given, first=half, every=len(halves) or 1, after=after))
        losses = tf.add_n([losses for losses, _ in found])
        return losses, self._unscaled([gradients for _, gradients in found], scale)

    def through_features(self, batch, counts, scale, cut: Cut, shared: list, own: Sequence[list], weigh: Callable):
        """One forward pass; of each loss a backward pass to the features; one from there, weighted. Of a single part.

        Args:
            batch, counts, scale: see `of_total`.
            cut: the network in two.
            shared: variables of its trunk.
            own: of each task the variables that its loss alone reaches.
            weigh: from the shares of the losses [K] and of the features' Gramians [F, K, K] to weights [K] and more.

        Returns:
            Shares of the losses [K]; lists of shares of gradients: of the shared variables, and of each task's own by
            its loss with weight 1; what `weigh` gave.
        """

        def compute(part, counts, scale):
            with tf.GradientTape() as below:
                image = tf.cast(part["image"], tf.float32)
                features = keras.tree.flatten(cut.trunk(image, training=True))
            losses, by_feature, of_own = self._to_features(part, counts, scale, cut, image, features, own)
            weights, more = weigh(losses, self._of_features(by_feature, scale))
            totals = [weighted_sum(gradients, weights) for gradients in by_feature]
            return losses, below.gradient(features, [v.value for v in shared], totals, _ZERO), of_own, weights, more

        losses, of_shared, of_own, *found = self._over_parts(compute, batch, counts, scale, compiled=False)
        return losses, *self._unscaled((of_shared, of_own), scale), *found

    def to_features_alone(self, batch, counts, scale, cut: Cut, ago: int):
        """Shares of the losses [K] and of the features' Gramians [F, K, K], of passes that change nothing.

        Args:
            batch, counts, scale, cut: see `through_features`.
            ago: see `losses_alone`.
        """
        number = itertools.count()

        def compute(part, counts, scale):
            with kernels.repeated(ago - next(number)):
                image = tf.cast(part["image"], tf.float32)
                features = keras.tree.flatten(cut.trunk(image, training=True))
                none = [[] for _ in self._tasks]
                losses, by_feature, _ = self._to_features(part, counts, scale, cut, image, features, none)
            return losses, self._of_features(by_feature, scale)

        return self._over_parts(compute, batch, counts, scale, compiled=False)

    def _to_features(self, part, counts, scale, cut, image, features, own):
        """Losses [K]; of each feature {task: gradient}; of each task the gradients of its own variables."""
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(features)
            outputs = cut.head([image, *features], training=True)
            losses = self._means(outputs, part, counts)
            targets = [loss * scale for loss in losses.values()]
        by_feature, of_own = [{} for _ in features], []
        for k, (target, variables) in enumerate(zip(targets, own, strict=True)):
            with tf.control_dependencies([tf.group(by_feature[0][k - 1])] if k else []):
                sources = [*features, *(v.value for v in variables)]
                found = tape.gradient(target, sources, unconnected_gradients=_ZERO)
            for gradients, gradient in zip(by_feature, found, strict=False):
                gradients[k] = gradient
            of_own.append(found[len(features) :])
        return _vector(losses), by_feature, of_own

    def _of_features(self, by_feature, scale):
        """Gramians of the features' gradients: images are apart, so that shares of them add up as well."""
        gradients = [{k: tf.cast(g, tf.float32) / scale for k, g in each.items()} for each in by_feature]
        return tf.stack([products(each, len(self._tasks)) for each in gradients])

    def at_other_values(self, batch, counts, scale, variables, values: Sequence[tf.Tensor]):
        """The shares of the gradient of the sum of all losses, where variables have other values; nothing is changed.

        Args:
            batch, counts, scale, variables: see `of_total`.
            values: of the variables.
        """
        number = itertools.count()

        def compute(part, counts, scale, values):
            with tf.GradientTape() as tape, kernels.repeated(-next(number)):
                tape.watch(values)
                with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
                    losses = self._losses(part, counts)
                total = tf.add_n(list(losses.values())) * scale
            return tape.gradient(total, values, unconnected_gradients=_ZERO)

        return self._unscaled(self._over_parts(compute, batch, counts, scale, list(values), compiled=False), scale)

    # === Pieces ===

    def _outputs(self, part):
        return self._model(tf.cast(part["image"], tf.float32), training=True)

    def _losses(self, part, counts):
        return self._means(self._outputs(part), part, counts)

    def _means(self, outputs, part, counts):
        return mean_losses(self._tasks, outputs, part, counts, self._model.label_weights)

    def _over_parts(self, compute, batch, *others, first=0, every=1, after=(), compiled=True):
        """Sums what a function of a part of the batch gives, part after part so that one is in memory.

        Args:
            compute: the function, of a part and the others.
            batch, others: its arguments.
            first, every: number of the first part, and from each to the next.
            after: tensors that are computed before.
            compiled: whether XLA may compile it, where it is on.
        """
        if self._xla and compiled:
            compute = tf.function(compute, jit_compile=True, autograph=False)
        total = None
        for number in range(first, self.parts, every):
            with tf.control_dependencies(after if total is None else tf.nest.flatten(total)):
                part = {name: take_part(value, number, self.parts) for name, value in batch.items()}
            found = compute(part, *others)
            total = found if total is None else tf.nest.map_structure(lambda one, other: one + other, total, found)
        return total

    def _unscaled(self, gradients, scale):
        return tf.nest.map_structure(lambda gradient: gradient / scale, gradients) if self._scaled else gradients


def take_part(values: tf.Tensor, number: int, parts: int) -> tf.Tensor:
    """A part of a replica's batch (B, ...), by its number from 0: every so manyth image.

    They are the same images, whose statistics batch norm takes, on any number of replicas.
    """
    return values if parts == 1 else tf.identity(values[number::parts])


def all_reduced(values):
    """A structure of tensors, summed over the replicas."""
    if not tf.nest.flatten(values):
        return values
    context = tf.distribute.get_replica_context()
    return context.all_reduce(tf.distribute.ReduceOp.SUM, values)


def _vector(losses):
    return tf.stack(list(losses.values()))
