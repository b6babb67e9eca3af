"""Initializers Keras lacks."""

from keras_tricks.initializers.zero_gamma import ZeroGammaInit
