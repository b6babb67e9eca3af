"""ResNet-200, + stochastic depth.

Run      keras-tricks train resnet_rs/study_06_drop_path --data-dir ~/tensorflow_datasets
Paper    Bello et al. 2021, arXiv:2103.07579, table 1: 80.6 %
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("resnet_rs/study_05_label_smoothing").replace(
    about={"expected_top1": 80.6},
    model={"options": {"bn_momentum": 0.0, "drop_path_rate": 0.1, "drop_path_rule": "stage"}},
)
