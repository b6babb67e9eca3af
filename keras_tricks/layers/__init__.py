"""Layers that Keras lacks or runs slower: stems, shortcuts, stochastic depth, normalization, normalizer-free parts."""

from keras_tricks.layers.avg_pool_shortcut import AvgPoolShortcut
from keras_tricks.layers.batch_normalization import BatchNormalization
from keras_tricks.layers.deep_stem import DeepStem
from keras_tricks.layers.drop_path import DropPath
from keras_tricks.layers.ghost_batch_normalization import GhostBatchNormalization
from keras_tricks.layers.grouped_conv2d import GroupedConv2D
from keras_tricks.layers.scalar_bias import ScalarBias
from keras_tricks.layers.scaled_activation import ScaledActivation
from keras_tricks.layers.scaled_ws_conv2d import ScaledWSConv2D
from keras_tricks.layers.skip_gain import SkipGain
from keras_tricks.layers.squeeze_excite import SqueezeExcite
from keras_tricks.layers.whitening_conv2d import WhiteningConv2D, whitening_kernel
from keras_tricks.layers.ws_conv2d import WSConv2D
