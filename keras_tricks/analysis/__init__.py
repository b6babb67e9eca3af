"""Looks at a model without training it: what it costs, and how a signal travels through it."""

from keras_tricks.analysis.cost import Cost, LayerCost, cost, training_memory
from keras_tricks.analysis.non_finite import first_non_finite
from keras_tricks.analysis.signal_propagation import BlockSignal, SignalPropagation, signal_propagation
