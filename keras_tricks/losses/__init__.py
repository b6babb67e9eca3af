"""Loss functions: label smoothing, binary cross entropy and distillation."""

from keras_tricks.losses.binary_crossentropy import BinaryCrossentropy, binary_targets
from keras_tricks.losses.distillation import Distiller, distillation_loss, trained_network
from keras_tricks.losses.label_smoothing import LabelSmoothingCrossentropy, smooth_labels
