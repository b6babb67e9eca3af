"""MobileNet, efficient training.

Run      keras-tricks train bag_of_tricks/mobilenet --data-dir ~/tensorflow_datasets
Paper    He et al. 2018, arXiv:1812.01187, table 6
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("bag_of_tricks/resnet50").replace(
    about={
        "expected_top1": None,
        "expected_from": "",
        "note": "the paper's number is not quoted: it was available only from a secondary source; "
                "ReLU6 of keras.applications, where gluon-cv has ReLU",
        "differs": {},
    },
    model={"name": "mobilenet", "zero_gamma": False, "options": {"dropout_rate": 0.0}},
)
