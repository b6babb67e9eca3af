"""ResNet-200, + squeeze-excite.

Run      keras-tricks train resnet_rs/study_10_squeeze_excite --data-dir ~/tensorflow_datasets
Paper    Bello et al. 2021, arXiv:2103.07579, table 1: 82.9 %
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("resnet_rs/study_09_weight_decay").replace(
    about={"expected_top1": 82.9},
    model={"options": {"bn_momentum": 0.0, "drop_path_rate": 0.1, "drop_path_rule": "stage", "dropout_rate": 0.25,
                       "se_ratio": 0.25}},
)
