"""What is minimised: smoothed labels, a teacher's answers."""

from keras_tricks.losses.distillation import Distiller, distillation_loss
from keras_tricks.losses.label_smoothing import LabelSmoothingCrossentropy, smooth_labels
