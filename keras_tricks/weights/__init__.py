"""Weights in and out of files."""

from keras_tricks.weights.files import load
