"""ResNet-50 (layout A), efficient training: batch 1024 with warmup, zero gamma, no bias decay and float16.

Run      keras-tricks train bag_of_tricks/resnet50 --data-dir ~/tensorflow_datasets
Paper    He et al. 2018, arXiv:1812.01187, section 3 (table 4, last row at batch 1024): 76.21 %
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("bag_of_tricks/resnet50_baseline").replace(
    about={"expected_top1": 76.21, "expected_from": "paper, table 4", "note": ""},
    model={"zero_gamma": True},
    optimizer={"no_bias_decay": True},
    schedule={"batch_size": 1024, "warmup_epochs": 5},  # linear scaling: 0.1 * 1024 / 256 = 0.4
    train={"precision": "mixed_float16"},
)
