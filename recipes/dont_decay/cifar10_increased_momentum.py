"""WRN-16-4 on CIFAR-10: momentum 0.98 and a batch of 3200 from the start: the fewest updates, and lower accuracy.

Run      keras-tricks train dont_decay/cifar10_increased_momentum --data-dir cifar10
Data     cifar10/{train,test}/<class>/*.jpg (or .png)
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("dont_decay/cifar10_increase_batch").replace(
    about={"note": "section 5.2; 2,160 updates; the paper reports one point less accuracy"},
    schedule={"batch_size": 3200, "base_learning_rate": 0.5, "base_batch_size": 3200},
    optimizer={"momentum": 0.98},
)
