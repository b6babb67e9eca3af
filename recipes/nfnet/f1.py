"""NFNet-F1 at 224 pixels, evaluated at 320.

Run      keras-tricks train nfnet/f1 --data-dir ~/tensorflow_datasets
Paper    Brock et al. 2021, arXiv:2102.06171, section 4 and appendix A, table 1: 84.7 %
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("nfnet/f0").replace(
    about={"expected_top1": 84.7},
    data={"image_size": 224, "test_image_size": 320},
    augment={"rand_augment_magnitude": 10},
    model={"name": "nfnet_f1", "options": {"dropout_rate": 0.3, "drop_path_rate": 0.25}},
)
