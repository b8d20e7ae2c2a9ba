"""Options of a network of few channels, over configs/srn_R18.yaml or configs/srn_R50.yaml.

A thin ResNet-50 has 0.3 million parameters where ResNet-18, whose width is fixed in detectron2, has
11 million: it is built, run, trained and saved in a fraction of the time.
"""

THIN_RESNET = (
    *("MODEL.RESNETS.DEPTH", 50, "MODEL.RESNETS.STEM_OUT_CHANNELS", 8),
    *("MODEL.RESNETS.RES2_OUT_CHANNELS", 16, "MODEL.RESNETS.WIDTH_PER_GROUP", 8),
)


def thin_options(channels: int) -> tuple:
    """A thin ResNet, and a pyramid and a head with so many channels."""
    return (
        *THIN_RESNET,
        *("MODEL.FPN.OUT_CHANNELS", channels, "MODEL.SRN.C6_CHANNELS", channels),
        *("MODEL.SRN.C7_CHANNELS", channels),
    )


SMALL = thin_options(16)
