"""What is done to a model that is already there, ours or not."""

from keras_tricks.surgery.freeze import freeze
from keras_tricks.surgery.zero_gamma import zero_gamma
