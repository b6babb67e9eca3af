"""NFNet-F2 at 256 pixels, evaluated at 352.

Run      keras-tricks train nfnet/f2 --data-dir ~/tensorflow_datasets
Paper    Brock et al. 2021, arXiv:2102.06171, section 4 and appendix A, table 1: 85.1 %
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("nfnet/f0").replace(
    about={"expected_top1": 85.1},
    data={"image_size": 256, "test_image_size": 352},
    augment={"rand_augment_magnitude": 10},
    model={"name": "nfnet_f2", "options": {"dropout_rate": 0.4, "drop_path_rate": 0.25}},
)
