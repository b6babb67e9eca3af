"""Inception-v3, + cosine decay.

Run      keras-tricks train bag_of_tricks/inception_v3_cosine --data-dir ~/tensorflow_datasets
Paper    He et al. 2018, arXiv:1812.01187, section 5.1, table 6
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("bag_of_tricks/inception_v3").replace(schedule={"decay": "cosine"})
