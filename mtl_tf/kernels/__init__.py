"""What layers and optimisers compute with: TensorFlow's own kernels, or `keras.ops` under another backend of Keras.

The product runs on TensorFlow. With KERAS_BACKEND=jax the networks, the losses and a step of training compute the same,
for checks and for measurements where there is no TensorFlow. Both modules have the same functions; no other part of
the package asks for the backend.
"""

import keras

if keras.config.backend() == "tensorflow":
    from mtl_tf.kernels import on_tensorflow as chosen
else:
    from mtl_tf.kernels import on_any_backend as chosen

normalise = chosen.normalise
normalise_by_batch = chosen.normalise_by_batch
convolution = chosen.convolution
resize = chosen.resize
argmax = chosen.argmax
new_draws = chosen.new_draws
draw = chosen.draw
recompute = chosen.recompute
repeated = chosen.repeated
repeating = chosen.repeating
move_with_momentum = chosen.move_with_momentum
