"""Optimisers, and a learning rate of its own for every part of the network."""

from collections.abc import Sequence

import keras

from mtl_tf import kernels
from mtl_tf.config import OptimConfig
from mtl_tf.models.encoder_layers import EXCHANGE, encoder_stages


class _RatePerVariable:
    """A Keras optimiser in which each variable has a factor of the learning rate, which its weight decay follows.

    Args:
        rate_factors: in the order of the variables; empty = 1 for all.
    """

    def __init__(self, *args, rate_factors: Sequence[float] = (), **kwargs):
        super().__init__(*args, **kwargs)
        # A function, since Keras would track a list as state.
        self._rate_factor = (lambda index: rate_factors[index]) if rate_factors else lambda index: 1.0

    def update_step(self, gradient, variable, learning_rate):
        """Decays and updates one variable in place."""
        factor = self._rate_factor(self._get_variable_index(variable))
        rate = learning_rate if factor == 1.0 else learning_rate * factor
        if self.weight_decay:
            self.assign_sub(variable, variable * self.weight_decay * rate)
        super().update_step(gradient, variable, rate)

    def _apply_weight_decay(self, variables):
        """Done in `update_step`, where the factor is known."""


class _Momentum(keras.optimizers.SGD):
    def update_step(self, gradient, variable, learning_rate):
        """Updates one variable and its velocity in place."""
        if not self.momentum:
            self.assign_sub(variable, learning_rate * gradient)
            return
        velocity = self.momentums[self._get_variable_index(variable)]
        kernels.move_with_momentum(variable, velocity, gradient, learning_rate, self.momentum)


class SGD(_RatePerVariable, _Momentum):
    """SGD with the velocity of PyTorch: v = momentum * v + g; w = w - rate * v.

    Keras keeps the rate inside (v = momentum * v - rate * g), so that a rate that falls takes hold only as the old
    velocity fades: Sutskever et al., "On the importance of initialization and momentum", 2013, against PyTorch's
    documented form.
    """


class Adam(_RatePerVariable, keras.optimizers.Adam):
    """Keras' Adam (Kingma and Ba, 2015)."""


def build_optimizer(config: OptimConfig, rate_factors: Sequence[float] = ()) -> keras.optimizers.Optimizer:
    """The optimiser; decoupled weight decay is its own, L2 is `l2_of` and enters the gradient.

    Args:
        config: the options.
        rate_factors: of the variables that it will be built on, in their order (`rate_factors_of`); empty = 1.
    """
    decoupled = (config.weight_decay or None) if is_decoupled(config) else None
    shared = dict(weight_decay=decoupled, rate_factors=rate_factors)
    if config.name == "sgd":
        return SGD(config.learning_rate, momentum=config.momentum, **shared)
    moments = dict(beta_1=config.beta1, beta_2=config.beta2, epsilon=config.epsilon)
    return Adam(config.learning_rate, **moments, **shared)


def is_decoupled(config: OptimConfig) -> bool:
    """Whether weights decay by themselves: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019."""
    return config.decoupled or config.name == "adamw"


def l2_of(config: OptimConfig) -> float:
    """The factor wd of the term wd * w that is added to the gradient of every parameter w."""
    return 0.0 if is_decoupled(config) else config.weight_decay


def momentum_of(optimizer: keras.optimizers.Optimizer, variable: keras.Variable) -> tuple:
    """By which rate and momentum SGD moves a variable, and the buffer of the latter; Adam counts as SGD without it."""
    index = optimizer._get_variable_index(variable)
    rate = optimizer.learning_rate.value * optimizer._rate_factor(index)
    momentum = getattr(optimizer, "momentum", 0.0)
    return rate, momentum, optimizer.momentums[index].value if momentum else 0.0


# === A learning rate for every part ===


def rate_factors_of(config: OptimConfig, model: keras.Model) -> list[float]:
    """Factor of the learning rate for each trainable variable of a model, in their order; empty where all are 1.

    The encoder learns at `encoder_rate`; with `layer_decay` below 1 its earlier stages learn less: stage s of S
    (0 = the stem) at encoder_rate * layer_decay^(S - 1 - s), as in Clark et al., "ELECTRA", 2020, and Bao et al.,
    "BEiT", 2022, with stages for layers. Units through which tasks exchange features learn at `exchange_rate`.
    """
    if config.encoder_rate == config.layer_decay == config.exchange_rate == 1.0:
        return []
    stages = encoder_stages(model)
    last = max(stages.values())
    factors = {path: config.encoder_rate * config.layer_decay ** (last - stage) for path, stage in stages.items()}
    units = [v.path for v in model.trainable_variables if v.path.startswith(f"{EXCHANGE}/")]
    factors |= dict.fromkeys(units, config.exchange_rate)
    return [factors.get(variable.path, 1.0) for variable in model.trainable_variables]
