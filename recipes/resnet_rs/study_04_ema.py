"""ResNet-200, + average of the weights.

Run      keras-tricks train resnet_rs/study_04_ema --data-dir ~/tensorflow_datasets
Paper    Bello et al. 2021, arXiv:2103.07579, table 1: 79.1 %
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("resnet_rs/study_03_longer").replace(
    about={"expected_top1": 79.1},
    # Momentum 0: batch normalization keeps no moving statistics. The average of all weights includes its statistics.
    model={"options": {"bn_momentum": 0.0}},
    optimizer={"ema_decay": 0.9999},
)
