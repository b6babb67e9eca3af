"""NF-ResNet on scikit-learn's digits at 8 pixels, 16 epochs: seconds on a laptop, no download.

Run      keras-tricks train nfnet/digits_nf_resnet --set schedule.batch_size=512
         keras-tricks ablate --chain normalizer_free_twins_digits has its twins, with and without clipping
Results  docs/results/normalizer_free
"""

from keras_tricks.recipe import About, Augment, Data, Loss, Model, Optimizer, Recipe, Schedule, Train

RECIPE = Recipe(
    about=About(paper="arXiv:2102.06171", note="rate, epochs and network are our choice"),
    data=Data(source="digits", image_size=8, eval_crop="whole", mean=(78.0,) * 3, std=(96.0,) * 3),
    augment=Augment(crop="pad", pad=1, pad_mode="CONSTANT", flip=False),
    model=Model(name="nf_resnet_cifar"),
    loss=Loss(label_smoothing=0.1, smoothing="uniform"),
    optimizer=Optimizer(weight_decay=1e-4, no_bias_decay=True),
    schedule=Schedule(epochs=16, batch_size=128, base_learning_rate=0.4, base_batch_size=256, warmup_epochs=2,
                      decay="cosine"),
    train=Train(evaluate_every=16, eval_batch_size=599),
)
