"""ResNet-50, procedure A2 of "ResNet strikes back": 300 epochs at 224 pixels.

Run      keras-tricks train resnet_strikes_back/a2 --data-dir ~/tensorflow_datasets
Paper    Wightman et al. 2021, arXiv:2110.00476, table 2. Differs as resnet_strikes_back/a1
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("resnet_strikes_back/a1").replace(
    about={"expected_top1": None, "expected_from": "", "note": "the paper's result of A2 was not checked"},
    augment={"mixup_alpha": 0.1},
    loss={"label_smoothing": 0.0},
    optimizer={"weight_decay": 0.02},
    schedule={"epochs": 300},
)
