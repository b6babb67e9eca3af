"""Inception-v3, the baseline: batch 256, learning rate 0.1 divided by 10 at epochs 30, 60 and 90 of 120.

Run      keras-tricks train bag_of_tricks/inception_v3_baseline --data-dir ~/tensorflow_datasets
Paper    He et al. 2018, arXiv:1812.01187, table 2
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("bag_of_tricks/inception_v3").replace(
    optimizer={"no_bias_decay": False},
    schedule={"batch_size": 256, "warmup_epochs": 0},
    train={"precision": "float32"},
)
