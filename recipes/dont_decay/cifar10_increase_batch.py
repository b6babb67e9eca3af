"""WRN-16-4 on CIFAR-10: the batch grows 128, 640, 3200, 5120 instead of the decay.

Run      keras-tricks train dont_decay/cifar10_increase_batch --data-dir cifar10
Data     cifar10/{train,test}/<class>/*.jpg (or .png)
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("dont_decay/cifar10_decay").replace(
    about={"note": "section 5.1 and 5.2; 29,040 updates; beyond a batch of 5120 the learning rate decays instead"},
    schedule={"mode": "increase_batch", "max_batch_size": 5120},
)
