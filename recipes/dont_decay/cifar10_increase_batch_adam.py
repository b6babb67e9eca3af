"""WRN-16-4 on CIFAR-10 with Adam: batch grown by 5.

Run      keras-tricks train dont_decay/cifar10_increase_batch_adam --data-dir cifar10
Data     cifar10/{train,test}/<class>/*.jpg (or .png)
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("dont_decay/cifar10_increase_batch").replace(
    about={"note": "section 5.1, Adam; the noise scale is not derived for it",
           "differs": {"schedule.base_learning_rate": "our choice: Keras' default",
                       "optimizer.weight_decay": "our choice: none"}},
    optimizer={"name": "adam", "weight_decay": 0.0},
    schedule={"base_learning_rate": 0.001, "growth_exponent": 1.0},
)
