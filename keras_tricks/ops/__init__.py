"""Pure tensor functions on `keras.ops`."""

from keras_tricks.ops.broadcast import add_parameter, multiply_parameter
from keras_tricks.ops.clip_unitwise import clip_unitwise, unit_axes, unitwise_norm
from keras_tricks.ops.elementwise import elementwise
from keras_tricks.ops.gelu import gelu
from keras_tricks.ops.silu import silu
from keras_tricks.ops.standardize_kernel import divide_by_std, standardize_kernel
