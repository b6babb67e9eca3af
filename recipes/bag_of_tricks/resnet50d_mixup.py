"""ResNet-50-D, + mixup 0.2 and 200 epochs, without distillation.

Run      keras-tricks train bag_of_tricks/resnet50d_mixup --data-dir ~/tensorflow_datasets
Paper    He et al. 2018, arXiv:1812.01187, section 5.4, table 6: 79.15 %
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("bag_of_tricks/resnet50d_label_smoothing").replace(
    about={"expected_top1": 79.15, "expected_from": "paper, table 6"},
    augment={"mixup_alpha": 0.2},
    schedule={"epochs": 200},
)
