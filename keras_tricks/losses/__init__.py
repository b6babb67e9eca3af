"""Loss functions: label smoothing, class weights, binary cross entropy and distillation."""

from keras_tricks.losses.binary_crossentropy import BinaryCrossentropy, binary_targets
from keras_tricks.losses.class_weight import ClassWeightedCrossentropy, balanced_class_weights
from keras_tricks.losses.distillation import Distiller, distillation_loss, trained_network
from keras_tricks.losses.label_smoothing import LabelSmoothingCrossentropy, smooth_labels
