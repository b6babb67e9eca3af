"""The finished model, written for others to read."""

from keras_tricks.export.deploy import Normalize, deployable, precision
from keras_tricks.export.formats import FORMS, export, without_classifier
from keras_tricks.export.fold import fold
