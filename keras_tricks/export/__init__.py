"""Exports a finished model in the formats of other tools."""

from keras_tricks.export.deploy import Normalize, deployable, precision
from keras_tricks.export.formats import FORMS, check_packages, export, split_by_backend, with_features
from keras_tricks.export.formats import without_classifier
from keras_tricks.export.fold import fold
from keras_tricks.export.stock import needs_package, stock
from keras_tricks.export.verify import Verified, verify
