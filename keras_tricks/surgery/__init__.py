"""Changes to an existing model, from this package or any other."""

from keras_tricks.surgery.freeze import freeze
from keras_tricks.surgery.test_time_augmentation import VIEWS, test_time_augmentation, with_views
from keras_tricks.surgery.whiten import whiten
from keras_tricks.surgery.zero_gamma import zero_gamma
