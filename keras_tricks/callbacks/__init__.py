"""Callbacks that monitor, save or change a run between steps."""

from keras_tricks.callbacks.batch_size_scheduler import BatchSizeScheduler
from keras_tricks.callbacks.callback_list import CallbackList
from keras_tricks.callbacks.checkpoint import Checkpoint
from keras_tricks.callbacks.checkpoint_file import Position
from keras_tricks.callbacks.gradient_noise import GradientNoiseScale
from keras_tricks.callbacks.interruption import Interrupted, Interruption
from keras_tricks.callbacks.overflow_log import OverflowLog
from keras_tricks.callbacks.run_log import RunLog
from keras_tricks.callbacks.warmup_linear_scaling import WarmupLinearScaling
from keras_tricks.callbacks.watchdog import Diverged, NonFiniteLoss, Watchdog
from keras_tricks.callbacks.weight_ema import WeightEMA
from keras_tricks.callbacks.weight_swa import EpochAverage, StochasticWeightAveraging, recompute_statistics
