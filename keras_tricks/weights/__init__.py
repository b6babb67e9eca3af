"""Reads and writes weight files."""

from keras_tricks.weights.applications import from_applications, to_applications
from keras_tricks.weights.classifier import match_classifier
from keras_tricks.weights import pretrained
from keras_tricks.weights.safetensors_io import load
from keras_tricks.weights.sources import WeightInfo, find
from keras_tricks.weights.timm import assign_timm
