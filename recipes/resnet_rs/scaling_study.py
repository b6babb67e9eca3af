"""ResNets of the scaling study on ImageNet, for 10 and 100 epochs: flips and random crops only.

Run      keras-tricks scale --recipe resnet_rs/scaling_study --train epochs=10 --train epochs=100 \
             --data-dir ~/tensorflow_datasets
Paper    Bello et al. 2021, arXiv:2103.07579, section 5: weight decay 4e-5, no RandAugment, dropout, stochastic depth
         or label smoothing. At 350 epochs the paper raises the regularization with the size of the network; train
         the recipes rs50_160 to rs420_320 instead
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("resnet_rs/rs50_160").replace(
    about={"expected_top1": None, "expected_from": "", "note": "one network of the grid", "follows": "paper, section 5",
           "differs": {}},
    augment={"rand_augment_layers": 0},
    model={"options": {"bn_momentum": 0.0}},
    loss={"label_smoothing": 0.0, "smoothing": "others"},
    schedule={"epochs": 100, "warmup_epochs": 5},
)
