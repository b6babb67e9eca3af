"""Initializers that Keras lacks."""

from keras_tricks.initializers.dirac import DiracInit
from keras_tricks.initializers.fixup import FixupInit
from keras_tricks.initializers.zero_gamma import ZeroGammaInit
