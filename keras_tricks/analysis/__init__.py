"""Inspects a model: its cost, how a signal propagates through it, and its answers beside the labels."""

from keras_tricks.analysis.accuracy import BalancedAccuracy, ClassCounts, Evaluation, wilson_interval
from keras_tricks.analysis.calibration import Reliability, fit_temperature, negative_log_likelihood
from keras_tricks.analysis.calibration import reliability, softmax
from keras_tricks.analysis.confusion import Confusion, confusion
from keras_tricks.analysis.cost import Cost, LayerCost, cost, training_memory
from keras_tricks.analysis.half_precision_biases import half_precision_biases
from keras_tricks.analysis.label_issues import label_issues, label_set_issues
from keras_tricks.analysis.logit_gap import logit_gap, optimal_logit_gap
from keras_tricks.analysis.multi_label import LabelCounts, MacroF1, MeanAveragePrecision, is_best_right
from keras_tricks.analysis.non_finite import first_non_finite
from keras_tricks.analysis.signal_propagation import BlockSignal, SignalPropagation, signal_propagation
