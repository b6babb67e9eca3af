"""ResNet-50 as the paper's baseline: batch 256, learning rate 0.1 divided by 10 at epochs 30, 60 and 90 of 120.

Run      keras-tricks train bag_of_tricks/resnet50_baseline --data-dir ~/tensorflow_datasets
Paper    He et al. 2018, arXiv:1812.01187, sections 2.1 and 2.2
"""

from keras_tricks.recipe import About, Augment, Data, Model, Optimizer, Recipe, Schedule

RECIPE = Recipe(
    about=About(paper="arXiv:1812.01187", note="the paper's baseline number is not quoted: it was available only from "
                "a secondary source", follows="paper, section 2; gluon-cv, train_imagenet.py, which made its numbers",
                differs={"model.options.kernel_initializer": "Xavier, as the paper's text"}),
    data=Data(source="tfds:imagenet2012", image_size=224, eval_crop="short_side", short_side=256),
    augment=Augment(crop="random_resized", flip=True, color_jitter="gluoncv", pca_noise=0.1),
    model=Model(name="resnet50", options={"kernel_initializer": "glorot_uniform"}),
    optimizer=Optimizer(momentum=0.9, nesterov=True, weight_decay=1e-4),
    schedule=Schedule(epochs=120, batch_size=256, base_learning_rate=0.1, decay="step", milestones=(30, 60, 90)),
)
