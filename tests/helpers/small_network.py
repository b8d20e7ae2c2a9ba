"""Options of a network of few channels, over configs/srn_R18.yaml or configs/srn_R50.yaml.

A thin ResNet-50 has 0.3 million parameters where ResNet-18, whose width is fixed in detectron2, has
11 million: it is built, run, trained and saved in a fraction of the time.
"""


def thin_options(channels: int) -> tuple:
    """A thin ResNet, and a pyramid and a head with so many channels.

    Its random weights give larger maps than ResNet-18's, as long as batch normalisation has no
    statistics: smaller weights of the predictions make up for it.
    """
    return (
        *("MODEL.RESNETS.DEPTH", 50, "MODEL.RESNETS.STEM_OUT_CHANNELS", 8),
        *("MODEL.RESNETS.RES2_OUT_CHANNELS", 16, "MODEL.RESNETS.WIDTH_PER_GROUP", 8),
        *("MODEL.FPN.OUT_CHANNELS", channels, "MODEL.SRN.C6_CHANNELS", channels),
        *("MODEL.SRN.C7_CHANNELS", channels, "MODEL.SRN.PREDICTION_INIT_STD", 0.001),
    )


SMALL = thin_options(16)
