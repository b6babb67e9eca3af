"""Distribution strategies, from one device to several machines. TensorFlow only."""

from keras_tricks.distribution.devices import GlobalArrays, TensorFlowDevices, hide_gpus, make_devices
from keras_tricks.distribution.keras_patches import apply_patches
from keras_tricks.distribution.strategy import (
    cluster_config, is_chief, mirrored, several_workers, strategy, worker_names,
)
