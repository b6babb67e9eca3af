"""NFNet-F3 at 320 pixels, evaluated at 416.

Run      keras-tricks train nfnet/f3 --data-dir ~/tensorflow_datasets
Paper    Brock et al. 2021, arXiv:2102.06171, section 4 and appendix A, table 1: 85.7 %
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("nfnet/f0").replace(
    about={"expected_top1": 85.7},
    data={"image_size": 320, "test_image_size": 416},
    augment={"rand_augment_magnitude": 15},
    model={"name": "nfnet_f3", "options": {"dropout_rate": 0.4, "drop_path_rate": 0.25}},
)
