"""WRN-16-4 on CIFAR-10 with plain (not Nesterov) momentum: batch grown by 5.

Run      keras-tricks train dont_decay/cifar10_increase_batch_momentum --data-dir cifar10
Data     cifar10/{train,test}/<class>/*.jpg (or .png)
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("dont_decay/cifar10_increase_batch").replace(
    about={"note": "section 5.1, SGD with momentum"},
    optimizer={"nesterov": False},
)
