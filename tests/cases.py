"""One line per class that Keras can save and per tiny model: minimal arguments and input, for `contracts/`."""

import keras

import keras_tricks as kt
from keras_tricks.export import Normalize


def sgd(rate):
    return kt.optimizers.SGD(rate)


LAYERS = [  # class, arguments, input shape
    (kt.layers.AvgPoolShortcut, {"filters": 4}, (2, 5, 5, 3)),
    (kt.layers.BatchNormalization, {}, (4, 3, 3, 2)),
    (kt.layers.DeepStem, {"filters": (2, 2, 4)}, (2, 8, 8, 3)),
    (kt.layers.DropPath, {"rate": 0.5, "seed": 1}, (8, 3)),
    (kt.layers.GhostBatchNormalization, {"ghost_size": 2}, (4, 3, 3, 2)),
    (kt.layers.GroupedConv2D, {"filters": 4, "kernel_size": (3, 3), "groups": 2}, (2, 5, 5, 4)),
    (kt.layers.ScalarBias, {}, (2, 5, 3)),
    (kt.layers.ScaledActivation, {"activation": "gelu_tanh", "gain": "exact", "scale": 0.5}, (2, 5, 3)),
    (kt.layers.ScaledWSConv2D, {"filters": 4, "kernel_size": (3, 3), "strides": (2, 2), "padding": "same", "groups": 2,
                                "eps": 1e-5, "eps_mode": "add", "scale": 1.5}, (2, 5, 5, 4)),
    (kt.layers.SkipGain, {"initial": 0.5, "scale": 0.2}, (2, 5, 3)),
    (kt.layers.SqueezeExcite, {"ratio": 0.5, "scale": 2.0}, (2, 5, 5, 4)),
    (kt.layers.WhiteningConv2D, {"filters": 32, "kernel_size": (2, 2)}, (2, 5, 5, 4)),
    (kt.layers.WSConv2D, {"filters": 4, "kernel_size": (3, 3), "groups": 2, "eps": 1e-3}, (2, 5, 5, 4)),
    (Normalize, {"mean": (1.0, 2.0, 3.0), "std": (4.0, 5.0, 6.0)}, (2, 4, 4, 3)),
]
LOSSES = [  # class, arguments
    (kt.losses.BinaryCrossentropy, {"label_smoothing": 0.2, "target_threshold": 0.1, "from_logits": True}),
    (kt.losses.ClassWeightedCrossentropy, {"class_weight": [0.5, 1.0, 4.0], "label_smoothing": 0.1,
                                           "from_logits": True}),
    (kt.losses.LabelSmoothingCrossentropy, {"label_smoothing": 0.2, "smoothing": "uniform", "from_logits": True}),
]
INITIALIZERS = [  # class, arguments
    (kt.initializers.DiracInit, {"seed": 1}),
    (kt.initializers.FixupInit, {"num_blocks": 8, "convolutions": 3, "seed": 1}),
    (kt.initializers.ZeroGammaInit, {}),
]
METRICS = [  # class, arguments
    (kt.analysis.MacroF1, {"classes": 3}),
    (kt.analysis.MeanAveragePrecision, {"classes": 3}),
]
SCHEDULES = [  # class, arguments
    (kt.schedules.WarmupLinearScaling, {"batch_size": 8, "steps_per_epoch": 5, "decay": kt.schedules.Cosine(9)}),
    (kt.schedules.WarmupLinearScaling, {"batch_size": 8, "steps_per_epoch": 5, "decay": kt.schedules.Step((2, 4))}),
    (kt.schedules.WarmupLinearScaling, {"batch_size": 8, "steps_per_epoch": 5, "decay": kt.schedules.Linear(9, 0.1)}),
    (kt.schedules.WarmupLinearScaling, {"batch_size": 8, "steps_per_epoch": 5, "warmup_epochs": 0}),
]
OPTIMIZERS = [  # class, function from the learning rate to arguments, batches per update
    (kt.optimizers.SGD, lambda rate: {"learning_rate": rate, "weight_decay": 0.01, "no_bias_decay": True}, 1),
    (kt.optimizers.SGD, lambda rate: {"learning_rate": rate, "momentum": 0.0, "nesterov": False}, 1),
    (kt.optimizers.AGC, lambda rate: {"inner_optimizer": sgd(rate), "clip_factor": 0.1, "exclude": "none"}, 1),
    (kt.optimizers.GradientAccumulation, lambda rate: {"inner_optimizer": sgd(rate), "steps": 2}, 2),
    (kt.optimizers.Lookahead, lambda rate: {"inner_optimizer": sgd(rate), "sync_period": 2, "slow_step_size": 0.8}, 1),
    (kt.optimizers.Muon, lambda rate: {"learning_rate": rate, "weight_decay": 0.01, "vector_ratio": 1.0,
                                       "matrix_ratio": 1.0, "newton_schulz_steps": 5}, 1),
    (kt.optimizers.LossScale, lambda rate: {"inner_optimizer": sgd(rate), "initial_scale": 2.0**10}, 1),
]
MODELS = [  # registry name, arguments
    ("test_airbench", {"input_shape": (26, 26, 3), "classes": 3}),
    ("test_fixup_resnet", {"input_shape": (16, 16, 3), "classes": 3, "stem": "cifar", "drop_path_rate": 0.3}),
    ("test_inception_resnet", {"input_shape": (75, 75, 3), "classes": 3, "drop_path_rate": 0.3}),
    ("test_nf_resnet", {"input_shape": (64, 64, 3), "classes": 3, "layout": "timm"}),
    ("test_nf_resnet", {"input_shape": (16, 16, 3), "classes": 3, "stem": "cifar", "drop_path_rate": 0.3}),
    ("test_nfnet", {"input_shape": (64, 64, 3), "classes": 3, "drop_path_rate": 0.3}),
    ("test_resnet", {"input_shape": (96, 96, 3), "classes": 3}),
    ("test_resnet", {"input_shape": (8, 8, 3), "classes": 3, "stem": "cifar", "drop_path_rate": 0.3}),
    ("test_resnet_rs", {"input_shape": (96, 96, 3), "classes": 3, "drop_path_rate": 0.3}),
    ("test_skipinit_resnet", {"input_shape": (16, 16, 3), "classes": 3, "stem": "cifar", "drop_path_rate": 0.3}),
    ("test_wide_resnet", {"input_shape": (8, 8, 3), "classes": 3, "dropout_rate": 0.1, "ghost_batch_size": 2}),
]


def dense(name):
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name=name)])


MODEL_CLASSES = [  # class, function that returns its arguments, input shape
    (kt.losses.Distiller, lambda: {"student": dense("a"), "teacher": dense("b"), "temperature": 4.0}, (2, 4)),
    (kt.optimizers.SharpnessAware, lambda: {"inner_model": dense("a"), "rho": 0.1, "stride": 2}, (2, 4)),
    (kt.models.FeaturePyramid, lambda: {"model": "test_resnet", "strides": [8], "input_shape": [64, 64, 3]},
     (2, 64, 64, 3)),
]


def names(cases):
    """Test ids: the class, or the registry name, of each case."""
    return [getattr(case[0], "__name__", case[0]) for case in cases]
