"""The chains of the four works, applied to their own recipe or to yours.

The first row is the recipe without the tricks of the chain. The tricks follow in the order of the paper's table.
"""

import dataclasses

from keras_tricks.recipe import load_recipe
from keras_tricks.studies.ablation.chain import cumulative_rows, without_trick
from keras_tricks.utils.errors import check_choice


@dataclasses.dataclass(frozen=True)
class Chain:
    """A paper's table.

    Attributes:
        source: citation of the table.
        recipe: name of the recipe from which it starts.
        first: name of the first row, and its changes to the recipe.
        rows: the other rows, in the grammar of `chain.py`.
        paper_rows: {row: the row that replaces it if the recipe trains as many epochs as the paper's}. Shorter runs
            keep one length in all rows.
    """

    source: str
    recipe: str
    first: str
    rows: tuple
    paper_rows: dict = dataclasses.field(default_factory=dict)


RA_LS = ("augment.rand_augment_layers=2 augment.rand_augment_magnitude=15 loss.label_smoothing=0.1 "
         "loss.smoothing=uniform")
NO_RA_LS = "augment.rand_augment_layers=0 loss.label_smoothing=0.0"
BATCHES, CLIPS = (64, 256, 1024), (0, 0.01, 0.02, 0.04, 0.08, 0.16)


def _twins(batches):
    """Rows of NF against batch normalization, each without and with clipping, but for the first row."""
    return tuple(row for batch in batches for row in (
        f"batch {batch}, NF: schedule.batch_size={batch} model.options.norm=none optimizer.agc_clip_factor=0.0",
        f"batch {batch}, NF and AGC: optimizer.agc_clip_factor=0.01",
        f"batch {batch}, BN: model.options.norm=batch optimizer.agc_clip_factor=0.0",
        f"batch {batch}, BN and AGC: optimizer.agc_clip_factor=0.01"))[1:]


def _depths(depths):
    """Rows of batch normalization, SkipInit and neither at each depth, but for the first row."""
    return tuple(row for depth in depths for row in (
        f"{depth}, BN: model.options.depth={depth} model.options.norm=batch",
        f"{depth}, SkipInit: model.options.norm=skipinit",
        f"{depth}, neither: model.options.norm=none"))[1:]


CHAINS = {
    "bag_of_tricks_table_4": Chain(
        "He et al. 2018, arXiv:1812.01187, table 4 (batch 256; the other column: --set schedule.batch_size=1024)",
        "bag_of_tricks/resnet50_baseline",
        "linear scaling", ("warmup", "zero_gamma", "no_bias_decay", "mixed_float16"),
    ),
    "bag_of_tricks_table_5": Chain(
        "He et al. 2018, arXiv:1812.01187, table 5",
        "bag_of_tricks/resnet50",
        "ResNet-50", ("B: model.name=resnet50b", "C: model.name=resnet50c", "D: model.name=resnet50d"),
    ),
    "bag_of_tricks_table_6": Chain(
        "He et al. 2018, arXiv:1812.01187, table 6 (--set loss.teacher_weights=FILE; if the recipe trains 120 epochs, "
        "the rows with mixup train 200, as in the paper)",
        "bag_of_tricks/resnet50d",
        "efficient", ("cosine", "label_smoothing", "distillation", "mixup -distillation", "both: distillation"),
        {"mixup -distillation": "mixup, not distillation: mixup -distillation schedule.epochs=200"},
    ),
    "resnet_rs_table_1": Chain(
        "Bello et al. 2021, arXiv:2103.07579, table 1",
        "resnet_rs/study_01_resnet200",
        "ResNet-200", (
            "cosine: cosine schedule.milestones=[]",
            "longer: schedule.epochs=350 schedule.warmup_epochs=19",
            "weight_ema: weight_ema model.options.bn_momentum=0.0",
            "label_smoothing: label_smoothing loss.smoothing=uniform",
            "drop_path: drop_path model.options.drop_path_rule=stage",
            "rand_augment: rand_augment augment.rand_augment_magnitude=15",
            "dropout: model.options.dropout_rate=0.25",
            "less decay: optimizer.weight_decay=4e-5",
            "squeeze_excite",
            "ResNet-D: model.name=resnet_rs200"),
    ),
    "resnet_rs_table_2": Chain(
        "Bello et al. 2021, arXiv:2103.07579, table 2, on 2 % of the training images; at 224 pixels, because the "
        "paper's size was not read (first half ResNet-50, second ResNet-200)",
        "resnet_rs/study_03_longer",
        "50, none, 1e-4: model.name=resnet50b data.image_size=224 data.minival=0.02", (
            "50, none, 4e-5: optimizer.weight_decay=4e-5",
            f"50, RA-LS, 4e-5: {RA_LS}",
            "50, RA-LS, 1e-4: optimizer.weight_decay=1e-4",
            "50, RA-LS-DO, 1e-4: model.options.dropout_rate=0.25",
            "50, RA-LS-DO, 4e-5: optimizer.weight_decay=4e-5",
            f"200, none, 4e-5: model.name=resnet200b model.options.dropout_rate=0.0 {NO_RA_LS}",
            "200, none, 1e-4: optimizer.weight_decay=1e-4",
            f"200, RA-LS, 1e-4: {RA_LS}",
            "200, RA-LS, 4e-5: optimizer.weight_decay=4e-5",
            "200, RA-LS-SD-DO, 4e-5: model.options.dropout_rate=0.25 model.options.drop_path_rate=0.1 "
            "model.options.drop_path_rule=stage",
            "200, RA-LS-SD-DO, 1e-4: optimizer.weight_decay=1e-4"),
    ),
    "nfnet_table_2": Chain(
        "Brock et al. 2021, arXiv:2102.06171, table 2 (whether its row with batch normalization clips was not read; "
        "here it does)",
        "nfnet/f0",
        "baseline: model.options.widths=[256,512,1024,2048] model.options.two_convolutions=false "
        "augment.mixup_alpha=0 augment.cutmix_alpha=0 augment.rand_augment_layers=0", (
            "modified width: model.options.widths=[256,512,1536,1536]",
            "second 3x3: model.options.two_convolutions=true",
            "mix up: augment.mixup_alpha=0.2",
            "RandAugment: augment.rand_augment_layers=4",
            "CutMix: augment.cutmix_alpha=1.0",
            "default width: model.options.widths=[256,512,1024,2048]",
            "BN, not NF: model.options.norm=batch"),
    ),
    "agc_grid": Chain(
        "Brock et al. 2021, arXiv:2102.06171, figure 2b: clipping by batch size, here at laptop size "
        "(the recipe nfnet/nf_resnet50_agc is of ImageNet's size)",
        "nfnet/cifar10_nf_resnet_1024",
        f"batch {BATCHES[0]}, no clipping: schedule.batch_size={BATCHES[0]}",
        tuple(f"batch {batch}, {clip or 'no clipping'}: schedule.batch_size={batch} optimizer.agc_clip_factor={clip}"
              for batch in BATCHES for clip in CLIPS if (batch, clip) != (BATCHES[0], 0)),
    ),
    "normalizer_free_twins": Chain(
        "Brock et al. 2021, arXiv:2101.08692 and arXiv:2102.06171: NF against batch normalization, with and without "
        "clipping, at three batch sizes, at laptop size",
        "nfnet/cifar10_nf_resnet_1024",
        "batch 64, NF: schedule.batch_size=64",
        _twins((64, 256, 1024)),
    ),
    "normalizer_free_twins_digits": Chain(
        "the same on scikit-learn's digits, without a download",
        "nfnet/digits_nf_resnet",
        "batch 32, NF: schedule.batch_size=32",
        _twins((32, 128, 512)),
    ),
    "skipinit_depths": Chain(
        "De & Smith 2020, arXiv:2002.10444: batch normalization, SkipInit and neither at depths 16, 100 and 1000, on "
        "images of CIFAR's size",
        "nfnet/skipinit_depth",
        "16, BN: model.options.norm=batch",
        _depths((16, 100, 1000)),
    ),
    "skipinit_depths_digits": Chain(
        "the same on scikit-learn's digits, without a download; depth 1000: benchmarks/skipinit_depth_1000.py",
        "nfnet/digits_skipinit_depth",
        "16, BN: model.options.norm=batch",
        _depths((16, 100)),
    ),
    "normalizer_free": Chain(
        "Brock et al. 2021, arXiv:2101.08692, section 4, and arXiv:2102.06171, section 4, at laptop size",
        "nfnet/cifar10_nf_resnet_1024",
        "plain: model.name=skipinit_resnet_cifar model.options.skip_gain_init=1.0", (
            "SkipInit: model.options.skip_gain_init=0.0",
            "alpha and beta: model.name=nf_resnet_cifar model.options.scaled_ws=false",
            "scaled_ws: model.options.scaled_ws=true",
            "agc"),
    ),
}


def rows_of_paper(name, recipe, tricks):
    """The rows of a paper's table.

    Args:
        name: key of `CHAINS`.
        recipe: `Recipe` to start from, or `None`: that of the paper.
        tricks: {name: assignments}, see `resolve_tricks`.

    A row whose values the recipe already has is left out and logged.

    Raises:
        UserError: an unknown chain.
    """
    chain = CHAINS[check_choice("--chain", name, tuple(CHAINS))]
    own = load_recipe(chain.recipe)
    recipe, rows = recipe or own, chain.rows
    if recipe.schedule.epochs == own.schedule.epochs:
        rows = tuple(chain.paper_rows.get(row, row) for row in rows)
    for change in " ".join(chain.rows).split():
        if change in tricks:
            recipe = without_trick(recipe, change, tricks)
    first, _, changes = chain.first.partition(": ")
    first = first if changes or recipe.name == chain.recipe else "baseline"
    return cumulative_rows(recipe.override(changes.split()), rows, tricks, first, strict=False)
