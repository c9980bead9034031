"""What layers do that depends on how far training is."""

import keras


def begin_epoch(model: keras.Model, epoch: int, epochs: int) -> None:
    """Tells every layer with a method `begin_epoch(epoch, epochs)`, in models inside it too, which epoch begins.

    A layer keeps what it makes of it in a weight that is not trained: so it is saved, and the same on all replicas. It
    may be told of the same epoch again, when a run goes on.

    Args:
        model: any.
        epoch: its number, from 0.
        epochs: of the training.
    """
    for layer in model._flatten_layers(include_self=False):
        if hasattr(layer, "begin_epoch"):
            layer.begin_epoch(epoch, epochs)
