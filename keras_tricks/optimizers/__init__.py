"""From gradient to update: SGD as the papers use it, no bias decay, and wrappers that see the global gradient."""

from keras_tricks.optimizers.agc import AGC
from keras_tricks.optimizers.describe import describe
from keras_tricks.optimizers.gradient_accumulation import GradientAccumulation
from keras_tricks.optimizers.lookahead import Lookahead
from keras_tricks.optimizers.loss_scale import LossScale
from keras_tricks.optimizers.muon import Muon, orthogonalize
from keras_tricks.optimizers.no_decay import no_decay
from keras_tricks.optimizers.sgd import SGD
from keras_tricks.optimizers.sharpness_aware import SharpnessAware, check_stride, sharpness_perturbation
