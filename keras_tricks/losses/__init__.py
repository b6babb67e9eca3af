"""Loss functions: label smoothing and distillation."""

from keras_tricks.losses.distillation import Distiller, distillation_loss, trained_network
from keras_tricks.losses.label_smoothing import LabelSmoothingCrossentropy, smooth_labels
