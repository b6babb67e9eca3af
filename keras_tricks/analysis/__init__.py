"""Inspects a model without training it: its cost, and how a signal propagates through it."""

from keras_tricks.analysis.accuracy import BalancedAccuracy, ClassCounts, Evaluation, wilson_interval
from keras_tricks.analysis.cost import Cost, LayerCost, cost, training_memory
from keras_tricks.analysis.non_finite import first_non_finite
from keras_tricks.analysis.signal_propagation import BlockSignal, SignalPropagation, signal_propagation
