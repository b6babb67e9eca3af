"""ResNet-50, procedure A3 of "ResNet strikes back": 100 epochs at 160 pixels, evaluated at 224.

Run      keras-tricks train resnet_strikes_back/a3 --data-dir ~/tensorflow_datasets
Paper    Wightman et al. 2021, arXiv:2110.00476, table 2. Differs as resnet_strikes_back/a1; the batch is the paper's
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("resnet_strikes_back/a2").replace(
    about={"expected_top1": 78.1, "expected_from": "paper"},
    data={"image_size": 160, "test_image_size": 224},
    augment={"rand_augment_magnitude": 6, "repeats": 1},
    model={"options": {}},
    schedule={"epochs": 100, "batch_size": 2048, "base_batch_size": 2048, "base_learning_rate": 8e-3},
)
