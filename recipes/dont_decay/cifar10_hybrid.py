"""WRN-16-4 on CIFAR-10: the batch grows at epoch 60, then the learning rate decays.

Run      keras-tricks train dont_decay/cifar10_hybrid --data-dir cifar10
Data     cifar10/{train,test}/<class>/*.jpg (or .png)
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("dont_decay/cifar10_decay").replace(
    about={"note": "section 5.1; 34,320 updates"},
    schedule={"mode": "hybrid"},
)
