"""Balancing on NumPy arrays: one call is one step, for tools, comparisons and tests.

The type of the numbers is that of the input, float32 or float64 (anything else becomes float64), and methods by
eigenvalues take the rounding errors to be those of that type.
"""

from collections.abc import Sequence

import numpy as np

from mtl_tf.balancing.balance import Balance
from mtl_tf.balancing.lazy import tf
from mtl_tf.balancing.methods import initial
from mtl_tf.errors import UsageError

_COMMON = ("scale", "preference", "smooth")


def aggregate(
    name: str,
    jacobian: np.ndarray,
    present: Sequence[bool] | None = None,
    losses: np.ndarray | None = None,
    second: np.ndarray | None = None,
    seed: int | Sequence[int] = 0,
    state: dict | None = None,
    **options,
) -> tuple[np.ndarray, np.ndarray | None]:
    """The direction of a step, of the gradients of all tasks.

    Args:
        name: of an aggregator.
        jacobian: a row for each task, the gradient of its loss (K, n).
        present: which tasks have labels in this step; None = all.
        losses: of the tasks (K,), for mgda with a normalisation by losses and for db_mtl.
        second: the same of an independent batch (K, n), for modo and sdmgrad.
        seed: of the random draws of the step: a number, or two.
        state: what the method remembers, changed in place; {} in the beginning. None = nothing is remembered.
        options: of the method, and scale (mean, own), preference (K numbers), smooth; see `Balance`.

    Returns:
        Direction (n,), which the parameters are moved against, and the weights of the rows (K,): of the averaged ones
        where the method averages rows (moco, db_mtl with beta), None where the direction is no weighted sum (graddrop).

    Raises:
        UsageError: no such method or option, or arrays that do not fit it.
    """
    rows = _rows("jacobian", jacobian)
    count = len(rows)
    present = _present(present, count)
    there = tf.constant(present)
    common = {key: options.pop(key) for key in _COMMON if key in options}
    precision = np.finfo(rows.dtype).eps
    balance = Balance(count, aggregator=name, aggregator_options=options, epsilon=float(precision), **common)
    aggregator = balance.aggregator
    _refuse_other(rows, present, "jacobian")
    if losses is not None:
        refusing = name if aggregator.needs_losses else ""
        losses = _losses(losses, count, present, "losses", refusing, others="upgrad, which takes none")
    elif aggregator.needs_losses:
        raise UsageError(f"{name} needs the losses of the step: losses=[{count} numbers]")
    if (second is None) != (aggregator.batches == 1):
        needs = "needs the rows of a second batch: second=" if aggregator.batches == 2 else "takes no second batch, got"
        raise UsageError(f"{name} {needs} an array of {rows.shape}")
    if second is not None:
        second = _rows("second", second).astype(rows.dtype)
        if second.shape != rows.shape:
            raise UsageError(f"second should have the shape of jacobian, {rows.shape}; got {second.shape}")
        _refuse_other(second, present, "second")
    kept = _state(name, state, aggregator.state, [rows.shape], rows.dtype)
    tensors = {"scalarizer": {}, "aggregator": kept}
    own = np.ones(count) if losses is None else losses
    row_weights = balance.row_weights(tensors, tf.constant(own.astype(rows.dtype)), there)
    direction, weights, moved = balance.direction(
        tensors,
        [tf.constant(rows)],
        there,
        row_weights,
        losses=None if losses is None else tf.constant(losses),
        second=None if second is None else [tf.constant(second)],
        draws=balance.draws(_seed(seed), [rows.shape[1:]]),
    )
    _keep(state, moved["aggregator"])
    return direction[0].numpy(), None if weights is None else weights.numpy()


def scalarize(
    name: str,
    losses: np.ndarray,
    present: Sequence[bool] | None = None,
    seed: int | Sequence[int] = 0,
    state: dict | None = None,
    *,
    losses_after: np.ndarray | None = None,
    norms: np.ndarray | None = None,
    meta: np.ndarray | None = None,
    epoch: int | None = None,
    **options,
) -> np.ndarray:
    """The weights of the losses of a step, which then counts as made: the state moves.

    Args:
        name: of a scalarizer.
        losses: of the tasks (K,).
        present, seed, state: see `aggregate`.
        losses_after: of the same batch after the step (K,), for famo; without them its state stays.
        norms: of the rows (K,), for gradnorm; without them its state stays.
        meta: gradient of the weights (K,), for auto_lambda; without it its state stays.
        epoch: number of the epoch, from 0, for dwa, stch and igb; None = every call is an epoch.
        options: of the method, and scale (mean, own), preference (K numbers) and rate; see `Balance`.

    Returns:
        (K,), 0 of absent tasks.

    Raises:
        UsageError: no such method or option, or losses that it cannot take.
    """
    count = len(_vector(losses, None, "losses"))
    present = _present(present, count)
    common = {key: options.pop(key) for key in ("scale", "preference", "rate") if key in options}
    balance = Balance(count, scalarizer=name, scalarizer_options=options, **common)
    scalarizer = balance.scalarizer
    refusing, floor = ("", 0.0) if scalarizer.floor is None else (name, scalarizer.floor)
    losses = _losses(losses, count, present, "losses", refusing, floor)
    if losses_after is not None:
        losses_after = _losses(losses_after, count, present, "losses_after", refusing, floor)
    given = {
        "losses_after": losses_after,
        "norms": None if norms is None else _vector(norms, count, "norms"),
        "meta": None if meta is None else _vector(meta, count, "meta"),
    }
    kept = _state(name, state, scalarizer.state, [], losses.dtype)
    tensors = _reached(balance, {"scalarizer": kept, "aggregator": {}}, epoch)
    losses = tf.constant(losses)
    weights = balance.row_weights(tensors, losses, present, balance.draws(_seed(seed)))
    needs = {"losses_after": scalarizer.needs_after, "norms": scalarizer.needs_norms, "meta": scalarizer.needs_meta}
    if all(given[each] is not None for each in needs if needs[each]):
        given = {key: None if each is None else tf.constant(each, losses.dtype) for key, each in given.items()}
        tensors = balance.update(tensors, losses, present, **given)
    if epoch is None:
        tensors = balance.epoch_end(tensors)
    _keep(state, tensors["scalarizer"])
    return weights.numpy()


def _reached(balance, tensors, epoch):
    """The state at the beginning of an epoch, after those that lie between."""
    begun = tensors["scalarizer"].get("epochs")
    if epoch is None or begun is None:
        return tensors
    if epoch < begun:
        raise UsageError(f"epoch={epoch}: the state is of epoch {begun} already; begin with state={{}}")
    for _ in range(int(begun), epoch):
        tensors = balance.epoch_end(tensors)
    return tensors


def _vector(values, count, what):
    expected = f"{what} takes {count or 'K'} numbers, one a task"
    values = _numbers(values, expected)
    if values.ndim != 1 or not values.size or (count and len(values) != count):
        raise UsageError(f"{expected}; got an array of {values.shape}")
    return values


def _rows(what, values):
    expected = f"{what} takes an array (K, n) of numbers, a row for each task"
    values = _numbers(values, expected)
    if values.ndim != 2 or not values.size:
        raise UsageError(f"{expected}; got {values.shape}")
    return values


def _numbers(values, expected):
    try:
        found = np.asarray(values)
        return found if found.dtype in (np.float32, np.float64) else found.astype(np.float64)
    except (TypeError, ValueError):
        raise UsageError(f"{expected}; got a {type(values).__name__} of something else") from None


def _refuse_other(values, present, what):
    """Raises a UsageError if the numbers of a present task are not finite."""
    for task in np.flatnonzero(present):
        if not np.isfinite(values[task]).all():
            raise UsageError(f"{what}[{task}] is not finite; pass over this step, or say that the task is absent")


def _losses(values, count, present, what, name="", floor=0.0, others="fixed, dwa or rlw, which take any"):
    values = _vector(values, count, what)
    _refuse_other(values, present, what)
    below = np.flatnonzero(present & (values < floor)) if name else ()
    if len(below):
        also = "base below all losses" if name == "famo" else others
        raise UsageError(
            f"{name} takes losses of at least {floor:g}, got {what}[{below[0]}]={values[below[0]]:g}; choose {also}"
        )
    return values


def _present(values, count):
    if values is None:
        return np.ones(count, bool)
    values = np.asarray(values)
    if values.shape != (count,) or values.dtype.kind not in "biu" or not np.isin(values, (0, 1)).all():
        raise UsageError(f"present takes {count} truth values, one a task; got {values.tolist()!s:.80}")
    return values.astype(bool)


def _seed(seed):
    seed = np.atleast_1d(np.asarray(seed, np.int64))
    if seed.shape not in ((1,), (2,)):
        raise UsageError(f"seed takes a whole number or two, got {seed.shape}")
    return tf.constant(seed if len(seed) == 2 else [seed[0], 0], tf.int64)


def _state(name, state, slots, shapes, floats):
    """Tensors of the state, those of the beginning where there are none yet."""
    first = initial(slots, shapes, np.dtype(floats).name)
    state = state or {}
    for key, value in state.items():
        if key not in slots:
            raise UsageError(f"state has {key!r}, but {name} keeps {', '.join(slots) or 'none'}; begin with state={{}}")
        expected = first[key][0] if slots[key].like_rows else first[key]
        if np.shape(value) != expected.shape:
            raise UsageError(f"state[{key!r}] should have the shape {expected.shape}, got {np.shape(value)}")
    return {
        key: [tf.constant(state.get(key, value[0]), value[0].dtype)]
        if slots[key].like_rows
        else tf.constant(state.get(key, value), value.dtype)
        for key, value in first.items()
    }


def _keep(state, tensors):
    if state is not None:
        state.update({key: (one[0] if isinstance(one, list) else one).numpy() for key, one in tensors.items()})
