"""Inception-v3, + mixup 0.2 and 200 epochs, without distillation.

Run      keras-tricks train bag_of_tricks/inception_v3_mixup --data-dir ~/tensorflow_datasets
Paper    He et al. 2018, arXiv:1812.01187, section 5.4, table 6: 78.77 %
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("bag_of_tricks/inception_v3_label_smoothing").replace(
    about={"expected_top1": 78.77, "expected_from": "paper, table 6", "note": ""},
    augment={"mixup_alpha": 0.2},
    schedule={"epochs": 200},
)
