"""Any network of keras.applications as an encoder: its graph, replayed layer by layer with our layers.

The walk keeps count of the stride that every tensor has in the original network and of the stride that it has here.
From these two follow, without a word about any single network, where the features by stride stand and how each layer
has to be written so that it computes what it did on the original's grid.
"""

import dataclasses
import re
from collections.abc import Callable, Iterator

import keras

from mtl_tf.models.encoders.sampling import AtrousAveragePooling, PadToGrid
from mtl_tf.models.layers import BatchNorm, Conv2D, DropPath, LayerScale


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a tensor stands.

    Attributes:
        original: its stride in the original network.
        stride: its stride here.
        padded: whether it was only padded, for the layer that comes next.
    """

    original: int = 1
    stride: int = 1
    padded: bool = False

    @property
    def dilation(self) -> int:
        """The distance, in pixels here, of what were neighbours in the original."""
        return self.original // self.stride


def named_layers(network: keras.Model) -> Iterator[tuple[str, keras.Operation]]:
    """Layers and operations of a network of keras.applications, with the names that an encoder gives them.

    They are Keras' own, but for the automatic ones ("layer_normalization_7"), which count the layers of a process:
    here they count those of the network. Sequential models inside it are taken apart.
    """
    counts: dict[str, int] = {}
    for layer in network.operations:
        for inner in layer.layers if isinstance(layer, keras.Sequential) else (layer,):
            name = re.sub(r"_\d+$", "", inner.name)
            if name.replace("_", "") == type(inner).__name__.lower():
                number = counts[name] = counts.get(name, -1) + 1
                yield f"{name}_{number}" if number else name, inner
            else:
                yield inner.name, inner


def replay(
    network: keras.Model,
    image: keras.KerasTensor,
    whitened: keras.KerasTensor,
    traded: set[int],
    after: Callable[[str, keras.KerasTensor], keras.KerasTensor],
) -> list[tuple[int, keras.KerasTensor]]:
    """Builds the graph of a network anew, on an image.

    Batch norm is our fused one, with the network's epsilon and our momentum; convolutions are ours, and begin He
    normal where the network leaves the choice to Keras; layers that only whiten the image are left out.

    Args:
        network: as keras.applications builds it, for images of any size.
        image: RGB 0..255 (B, H, W, 3).
        whitened: what the network is to see of it.
        traded: strides of the original network whose layer trades its own stride for dilation.
        after: called with the name and the answer of every layer; gives what comes in its place.

    Returns:
        (stride, feature) from shallow to deep: the last feature of every stride of the original network.

    Raises:
        NotImplementedError: the network has a layer whose windows no rule here covers.
    """
    walk = _Walk(dict((id(layer), name) for name, layer in named_layers(network)), traded, after)
    walk.places[id(whitened)] = Place()

    def call(layer, *args, **kwargs):
        args, kwargs = keras.tree.map_structure(lambda x: whitened if x is image else x, (args, kwargs))
        return walk.call(layer, args, kwargs)

    keras.models.clone_model(network, image, clone_function=lambda layer: layer, call_function=call)
    return [feature for original, feature in sorted(walk.features.items()) if original > 1]


class _Walk:
    def __init__(self, names, traded, after):
        self.names, self.traded, self.after = names, traded, after
        # By the identity of a tensor; what is a mean over the whole image has no place.
        self.places: dict[int, Place | None] = {}
        self.features: dict[int, tuple[int, keras.KerasTensor]] = {}

    def call(self, layer, args, kwargs):
        """The answer of our version of a layer."""
        if isinstance(layer, keras.Sequential):
            for inner in layer.layers:
                args = (self.call(inner, args, {}),)
            return args[0]
        name, rule = self.names[id(layer)], next((rule for kinds, rule in _RULES if isinstance(layer, kinds)), None)
        tensors = [x for x in keras.tree.flatten((args, kwargs)) if isinstance(x, keras.KerasTensor)]
        place = next((self.places[id(x)] for x in tensors if self.places[id(x)]), None)
        if rule:
            answer, place = rule(self, layer, name, place, *args)
        elif type(layer).__name__ == "LayerScale":
            answer = LayerScale(layer.init_values, name=name)(*args)
        else:
            answer = _copy(layer, name=name)(*args, **kwargs)
        answer = self.after(name, answer)
        self.places[id(answer)] = place
        if place and not place.padded:
            self.features[place.original] = place.stride, answer
        return answer

    # === Rules: the answer of a layer to x, and the answer's place ===

    def convolution(self, layer, name, place, x):
        """Conv2D and DepthwiseConv2D."""
        x, options, skip, place = self._window(layer, name, place, x, layer.kernel_size[0])
        if isinstance(layer, keras.layers.DepthwiseConv2D):
            kind, initializer = keras.layers.DepthwiseConv2D, "depthwise_initializer"
        else:
            kind, initializer = Conv2D, "kernel_initializer"
        if isinstance(getattr(layer, initializer), keras.initializers.GlorotUniform):
            # One for each layer: the same object would give two layers of a shape the same numbers.
            options[initializer] = keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")
        return _subsample(_copy(layer, kind, name=name, **options)(x), skip, name), place

    def max_pooling(self, layer, name, place, x):
        x, options, skip, place = self._window(layer, name, place, x, layer.pool_size[0], pads=False)
        if options.pop("dilation_rate", 1) > 1:
            raise NotImplementedError(f"{name}: maxima over several pixels at a traded stride")
        return _subsample(_copy(layer, name=name, **options)(x), skip, name), place

    def average_pooling(self, layer, name, place, x):
        if (layer.pool_size[0], layer.strides[0], layer.padding) != (2, 2, "valid"):
            raise NotImplementedError(f"{name}: means over anything but 2x2 pixels at stride 2")
        x, options, skip, place = self._window(layer, name, place, x, 2, pads=False)
        if options["strides"] == 2:
            # "same" takes the mean of what there is of a last, incomplete window.
            return _copy(layer, name=name, padding="same")(x), place
        return _subsample(AtrousAveragePooling(2, options["dilation_rate"], name=name)(x), skip, name), place

    def padding(self, layer, name, place, x):
        ((top, bottom), (left, right)), dilation = layer.padding, place.dilation
        if (top, top, top) == (bottom, left, right):
            x = keras.layers.ZeroPadding2D(top * dilation, name=name)(x)
        elif (top + 1, top, top + 1) == (bottom, left, right):
            # For sizes that it does not know, keras.applications writes "same" at stride 2 as that of even sizes.
            x = PadToGrid(2 * bottom + 1, 2, dilation, name=name)(x)
        else:
            raise NotImplementedError(f"{name}: padding by {layer.padding}")
        return x, dataclasses.replace(place, padded=True)

    def batch_norm(self, layer, name, place, x):
        return BatchNorm(epsilon=layer.epsilon, name=name)(x), place

    def dropout(self, layer, name, place, x):
        if layer.noise_shape != (None, 1, 1, 1):
            raise NotImplementedError(f"{name}: dropout of anything but whole images")
        return DropPath(layer.rate, name=name)(x), place

    def global_pooling(self, layer, name, place, x):
        return _copy(layer, name=name)(x), None

    def whitening(self, layer, name, place, x):
        return x, place

    def _window(self, layer, name, place, x, size, pads=True):
        """What a layer with windows of size x size pixels takes, its options, the sub-sampling after it, the place."""
        stride, padding = layer.strides[0], layer.padding
        if place is None:
            return x, dict(strides=1, padding=padding), 1, None
        reached = place.original * stride
        traded = stride > 1 and reached in self.traded
        dilation = place.dilation if size > 1 else 1
        # Keras has no layer with stride and dilation: it then runs at stride 1 and is sub-sampled, which is the same.
        finer = traded or (stride > 1 and dilation > 1)
        options = dict(strides=1 if finer else stride, padding=padding)
        if size > 1:
            options["dilation_rate"] = dilation
            if padding == "valid" and not place.padded and stride < size:
                raise NotImplementedError(f"{name}: windows that overlap and do not reach over the border")
            if pads and stride > 1 and not place.padded and (finer or padding == "valid"):
                x = PadToGrid(size, stride, dilation, padding == "same", name=f"{name}_grid")(x)
                options["padding"] = "valid"
        after = Place(reached, place.stride if traded else place.stride * stride)
        return x, options, stride if finer and not traded else 1, after


_RULES = (
    (keras.layers.DepthwiseConv2D, _Walk.convolution),
    (keras.layers.Conv2D, _Walk.convolution),
    (keras.layers.MaxPooling2D, _Walk.max_pooling),
    (keras.layers.AveragePooling2D, _Walk.average_pooling),
    (keras.layers.ZeroPadding2D, _Walk.padding),
    (keras.layers.BatchNormalization, _Walk.batch_norm),
    (keras.layers.Dropout, _Walk.dropout),
    (keras.layers.GlobalAveragePooling2D, _Walk.global_pooling),
    ((keras.layers.Rescaling, keras.layers.Normalization), _Walk.whitening),
)


def _copy(layer, kind=None, **changes):
    """The same layer, unbuilt: of another class, with other options."""
    return (kind or type(layer)).from_config({**layer.get_config(), **changes})


def _subsample(x, step, name):
    return keras.layers.MaxPooling2D(1, step, name=f"{name}_subsample")(x) if step > 1 else x
