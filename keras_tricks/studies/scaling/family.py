"""The families that can be scaled: which network of the zoo a width and a depth stand for."""

import dataclasses

from keras_tricks import models
from keras_tricks.models import resnet, resnet_rs
from keras_tricks.utils.errors import UserError, check_choice


@dataclasses.dataclass(frozen=True)
class Family:
    """A family that can be scaled.

    Attributes:
        name: pattern of the registry names, `"resnet_rs{depth}"`.
        depths: {depth: blocks of each stage}.
        options: function of the width to the options of the builder.
    """

    name: str
    depths: dict
    options: object

    def of_depths(self, wanted):
        """{depth: blocks} of some depths. Raises `UserError` with the nearest one for a depth there is not."""
        for depth in wanted:
            if depth not in self.depths:
                near = min(self.depths, key=lambda known: abs(known - depth))
                raise UserError(f"There is no depth {depth} in {self.name.format(depth='')}: "
                                f"{', '.join(map(str, self.depths))}. Nearest: {near}.")
        return {depth: self.depths[depth] for depth in wanted}

    def build(self, width, depth, image_size):
        return models.create_model(self.name.format(depth=depth), input_shape=(image_size, image_size, 3),
                                   kernel_initializer="zeros", **self.options(width))


def _resnet_d_options(width):
    filters = tuple(int(width * f) for f in (64, 128, 256, 512))
    if filters[0] < 2:
        raise UserError(f"A width of {width:g} leaves {filters[0]} of 64 channels: give 1/32 or more.")
    return {"filters": filters, "stem_filters": filters[0]}


FAMILIES = {
    "resnet_rs": Family("resnet_rs{depth}", resnet_rs.DEPTHS, lambda width: {"width_factor": width}),
    "resnet_d": Family("resnet{depth}d", {d: blocks for d, (kind, blocks) in resnet.VARIANTS.items()
                                          if kind == "bottleneck"}, _resnet_d_options),
}


def depths_of(family):
    """The depths of a family, in order. Raises `UserError` for an unknown family."""
    return tuple(FAMILIES[check_choice("family", family, FAMILIES)].depths)
