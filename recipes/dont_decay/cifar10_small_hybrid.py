"""WRN-16-1 on 10,000 CIFAR-10 images, 30 epochs: batch 32, 160, 160, then decay.

Run      keras-tricks train dont_decay/cifar10_small_hybrid --data-dir cifar10
Data     cifar10/{train,test}/<class>/*.jpg (or .png)
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("dont_decay/cifar10_small_decay").replace(
    about={"note": "4,360 updates", "expected_top1": 75.88},
    schedule={"mode": "hybrid"},
)
