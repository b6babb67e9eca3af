"""ResNet-200, + ResNet-D: ResNet-RS-200.

Run      keras-tricks train resnet_rs/study_11_resnet_d --data-dir ~/tensorflow_datasets
Paper    Bello et al. 2021, arXiv:2103.07579, table 1: 83.4 %
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("resnet_rs/study_10_squeeze_excite").replace(
    about={"expected_top1": 83.4},
    model={"name": "resnet_rs200", "options": {"bn_momentum": 0.0, "drop_path_rate": 0.1, "dropout_rate": 0.25}},
)
