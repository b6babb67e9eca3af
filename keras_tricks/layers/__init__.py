"""Layers Keras lacks, or has slower: stems, shortcuts, stochastic depth, batch normalization."""

from keras_tricks.layers.avg_pool_shortcut import AvgPoolShortcut
from keras_tricks.layers.batch_normalization import BatchNormalization
from keras_tricks.layers.deep_stem import DeepStem
from keras_tricks.layers.drop_path import DropPath
from keras_tricks.layers.ghost_batch_normalization import GhostBatchNormalization
