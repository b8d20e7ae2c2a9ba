"""The keys that this project adds to detectron2's: meaning, unit, options and source of each."""

import math

from detectron2.config import CfgNode


def add_srn_config(cfg: CfgNode) -> None:
    """Add the keys of SRN, of its augmentation and of its evaluation to ``cfg``, in place.

    Only new keys are added: no default of detectron2's is changed. A SOLVER.CPU_BFLOAT16 of "auto"
    can be merged over by True or False in configs that ``build_cfg`` or ``srn_d2.model_zoo`` make;
    in one of detectron2's ``get_cfg`` it is assigned. Everything that the paper
    fixes has the paper's value here. Sources: [paper] "Selective Refinement Network for High
    Performance Face Detection" (AAAI 2019), [released] the authors' published test code,
    [RetinaNet] Lin et al., ICCV 2017, where the paper prints no value.
    """
    _add_model_config(cfg)
    _add_timm_config(cfg)
    _add_input_config(cfg)
    _add_solver_and_test_config(cfg)
    _add_multi_scale_test_config(cfg)
    cfg.register_deprecated_key("TEST.COMPILE")  # in configs of before 2026-11-29


def _add_model_config(cfg: CfgNode) -> None:
    srn = cfg.MODEL.SRN = type(cfg)()

    # --- network -----------------------------------------------------------------------------
    # Channels of C6 and C7 [released]; P2..P7 and the heads have MODEL.FPN.OUT_CHANNELS.
    srn.C6_CHANNELS = 1024
    srn.C7_CHANNELS = 256
    # Upsampling of the top-down path: "nearest" [paper, as FPN] or "bilinear" (align_corners=True,
    # to the lateral's size) [released].
    srn.UPSAMPLE = "nearest"
    # Input of P6's stride-2 convolution: "p5" (after its 3x3) [paper] or "c5_lateral" (before the
    # 3x3) [released].
    srn.P6_SOURCE = "p5"
    # Images are zero-padded to a multiple of this (pixels). 1: no padding [released].
    srn.SIZE_DIVISIBILITY = 32
    # Receptive field enhancement in both subnets [paper 3.4]; False: two plain 3x3 convolutions.
    srn.RFE = True
    # 3x3 convolutions of both subnets: "plain" [paper], or "separable", a depthwise and a 1x1
    # convolution, which take an eighth of the multiply-adds with 64 channels.
    srn.HEAD_CONVOLUTION = "plain"
    # The same of the pyramid's 3x3 convolutions, strided ones included.
    srn.PYRAMID_CONVOLUTION = "plain"
    # Layers of the first step: "shared" with the second [paper]; "own_prediction": only the subnets
    # are shared; "own": none is. C2 .. C4 have less context than P2 .. P4.
    srn.FIRST_STEP_SUBNET = "shared"
    # Number of 3x3 convolutions of the first step's "own" subnets.
    srn.FIRST_STEP_CONVS = 4
    # Standard deviation of the two prediction convolutions' initial weights. 0: xavier, as all new
    # convolutions [paper]. RetinaNet's 0.01 starts from deltas of nearly 0, which a network
    # trained from scratch needs: xavier's large first deltas drive the box subnet's ReLUs to 0.
    srn.PREDICTION_INIT_STD = 0.0
    # Initial probability of "face" that sets the class prediction's bias [RetinaNet 4.1].
    srn.PRIOR_PROB = 0.01
    # Levels, any of p2 .. p7, with activation checkpointing of the heads: the backward pass
    # recomputes activations. ["p2"] saves the most memory for the time it costs.
    srn.RECOMPUTED_LEVELS = []

    # --- the two steps -----------------------------------------------------------------------
    # Levels, any of p2 .. p7, with two-step classification (STC) and two-step regression (STR)
    # [paper 3.2, 3.3]. Both empty and RFE False: the paper's RetinaNet baseline.
    srn.STC_LEVELS = ["p2", "p3", "p4"]
    srn.STR_LEVELS = ["p5", "p6", "p7"]
    # theta: an anchor of an STC level whose first-step negative confidence 1 - p exceeds this is
    # filtered from the second step, in training and inference [paper 3.2]. See STC_THRESHOLD_TEST.
    srn.STC_THRESHOLD = 0.99

    # --- matching: IoU below the first is background, at or above the second is face, between
    # them ignored [paper 3.5] -----------------------------------------------------------------
    srn.FIRST_STEP_IOU_THRESHOLDS = [0.3, 0.7]
    srn.SECOND_STEP_IOU_THRESHOLDS = [0.4, 0.5]
    # Thresholds of the second step on STR levels, whose anchors the first step has refined: nearly
    # all anchors near a face overlap it then. []: the second step's [paper].
    srn.REFINED_IOU_THRESHOLDS = []

    # Anchors whose IoU decides which anchors of STR levels are faces in the second step: "refined",
    # moved by the first step [paper], or "regular". Moved anchors give more faces a match.
    srn.REFINED_LABELS = "refined"
    # Anchors whose number of faces divides the second step's losses: "refined" or "regular". With
    # "refined" the coarse levels' further matches take weight from the fine levels.
    srn.SECOND_STEP_NORMALIZER = "refined"
    # Iteration from which STC filters anchors, and STR moves them, in training. 0: at once [paper].
    srn.STC_START_ITER = 0
    srn.STR_START_ITER = 0

    # --- losses. The paper prints none of these values: assumptions, RetinaNet's defaults. ------
    # Classification of the second step: "focal" [RetinaNet], or "quality_focal", whose target for
    # a face's anchor is the IoU of its predicted box with the face: it ranks tighter boxes first.
    srn.CLS_LOSS_TYPE = "focal"
    # Weight of a face's anchor in "focal" (1 - alpha: of background), and exponent of both losses.
    srn.FOCAL_LOSS_ALPHA = 0.25
    srn.FOCAL_LOSS_GAMMA = 2.0
    # "smooth_l1" [paper], "giou", "diou" or "ciou".
    srn.BBOX_REG_LOSS_TYPE = "smooth_l1"
    # Value at which smooth L1 turns from quadratic to linear, in units of the deltas.
    srn.SMOOTH_L1_BETA = 0.1
    # Weights (wx, wy, ww, wh) of the deltas.
    srn.BBOX_REG_WEIGHTS = (1.0, 1.0, 1.0, 1.0)
    # Largest logarithmic growth of width and height that a delta can make [detectron2]; .inf in a
    # config file: no limit [released].
    srn.BBOX_REG_SCALE_CLAMP = math.log(1000 / 16)
    # Factor of the two box losses L_STR against the two classification losses L_STC.
    srn.BBOX_REG_LOSS_WEIGHT = 1.0
    # Factor of the first step's two losses against the second step's.
    srn.FIRST_STEP_LOSS_WEIGHT = 1.0

    # --- inference [paper 3.5] -------------------------------------------------------------------
    # Computation of the second step on STC levels: "dense", "sparse" (only for anchors kept by the
    # first step; the same detections), or "auto", the faster one on each level.
    srn.SECOND_STEP = "auto"
    # Theta of inference; 0: STC_THRESHOLD [paper]. A lower one saves computation. In training it
    # would filter all anchors: the first step's scores start at PRIOR_PROB.
    srn.STC_THRESHOLD_TEST = 0.0
    # "paper", or "released": candidates level by level, no score threshold on a level of fewer
    # than 120 cells, NMS with boxes one pixel wider and higher [released].
    srn.POSTPROCESSING = "paper"
    # Anchors at or below this score of the network are dropped before anything else. 0: none is.
    srn.SCORE_THRESH_TEST = 0.0
    # Maximum number of anchors passed to NMS: of an image [paper], of a level [released].
    srn.TOPK_CANDIDATES_TEST = 2000
    # IoU above which NMS removes the weaker box. TEST.DETECTIONS_PER_IMAGE are kept (750).
    srn.NMS_THRESH_TEST = 0.5
    # Box voting after NMS [Gidaris and Komodakis, ICCV 2015]: each box becomes the mean of the
    # candidates that overlap it, weighted by score. Two IoUs: up to the first a candidate has no
    # weight, from the second on all, between them a share. []: none [paper].
    srn.BOX_VOTING_IOUS_TEST = []
    # The odds s / (1 - s) of a score s are multiplied by (size / 16) ** this, before NMS. The size
    # is the square root of the box's area in pixels of the network's input, limited to 8 to 48.
    # 0: scores are the network's [paper].
    srn.SCORE_SIZE_EXPONENT_TEST = 0.0


def _add_timm_config(cfg: CfgNode) -> None:
    """Add the keys of MODEL.BACKBONE.NAME build_srn_timm_fpn_backbone.

    It also reads MODEL.BACKBONE.FREEZE_AT, as follows.

    FREEZE_AT 0: nothing is frozen; 1: the stem; 2 .. 5: all up to the end of the stage of stride
    4, 8, 16 or 32. MODEL.FPN.IN_FEATURES is ["c2", "c3", "c4", "c5"].
    """
    cfg.MODEL.TIMM = type(cfg)()
    # Any network of timm with maps of strides 4, 8, 16 and 32, as timm.list_models() names it.
    cfg.MODEL.TIMM.NAME = "tf_efficientnet_lite0"
    # "BN": its batch normalisation learns. "FrozenBN": it keeps the loaded statistics, weights and
    # biases.
    cfg.MODEL.TIMM.NORM = "BN"


def _add_input_config(cfg: CfgNode) -> None:
    # --- training augmentation [paper 3.5], in this order -----------------------------------------
    # Photometric distortion as in SSD (brightness, contrast, saturation, hue).
    cfg.INPUT.FACE_PHOTOMETRIC = True
    # The image is placed at a random spot of a zero canvas this many times its size.
    cfg.INPUT.FACE_EXPAND_RANGE = (1.0, 2.0)
    # Side of the random square patch, as a share of the image's shorter side ...
    cfg.INPUT.FACE_PATCH_SCALES = (0.5, 1.0)
    # ... which is used with 1 - this probability; otherwise the side is the shorter side itself.
    cfg.INPUT.FACE_FULL_PATCH_PROB = 0.5
    # Side in pixels to which the square patch is resized.
    cfg.INPUT.FACE_CROP_SIZE = 1024
    # Data-anchor sampling [PyramidBox 3.3] instead of the two patches and the expansion, with
    # this probability: a square around a random face. 0: never [paper].
    cfg.INPUT.FACE_ANCHOR_SAMPLING_PROB = 0.0
    # Least and largest size (square root of the area, pixels) that the chosen face has then,
    # after the resize ...
    cfg.INPUT.FACE_SAMPLED_SIZES = (8.0, 256.0)
    # ... unless it would enlarge the image more than this many times.
    cfg.INPUT.FACE_MAX_ENLARGEMENT = 2.0
    # Probability of a rotation and a perspective of the crop, after the flip. 0: never [paper].
    cfg.INPUT.FACE_WARP_PROB = 0.0
    # Largest angle, in degrees, and largest move of a corner, as a share of the crop's side.
    cfg.INPUT.FACE_WARP_DEGREES = 30.0
    cfg.INPUT.FACE_WARP_PERSPECTIVE = 0.08
    # Probability of blur, reduced resolution or JPEG compression; grey has half of it. 0: never
    # [paper].
    cfg.INPUT.FACE_DEGRADATION_PROB = 0.0
    # Probability that a training image is a mosaic: four crops of half the size, of four images,
    # side by side in two rows. In data-anchor sampling the sizes are then limited to a quarter of
    # FACE_CROP_SIZE, which must be even. 0: never [paper].
    cfg.INPUT.FACE_MOSAIC_PROB = 0.0
    # A face whose shorter side is below this many pixels after augmentation is an ignore region.
    # (No figure in the paper; half of the smallest anchor's width.)
    cfg.INPUT.FACE_MIN_SIZE = 4.0
    # Where in a pixel the annotated coordinates lie: 0 at its left upper corner, as in COCO; 0.5 at
    # its centre, as in WIDER FACE, whose coordinates are whole pixels. Flips, resizes and warps
    # of training keep to it, and the network learns it: with 0 and whole pixels a flip moves boxes
    # by a pixel against their faces. (The paper says nothing of it.)
    cfg.INPUT.FACE_PIXEL_OFFSET = 0.0
    # A training run stops after more than this many unreadable images in one data worker.
    cfg.INPUT.FACE_MAX_CORRUPT_IMAGES = 10
    # How evenly an epoch shows the folders of images, in WIDER FACE its events. 0: each image once;
    # 1: all folders equally often; between: a folder of k images in proportion to
    # k ** (1 - balance).
    cfg.DATALOADER.FACE_FOLDER_BALANCE = 0.0
    # Cache of decoded training images, in MiB for each data worker. 0: none.
    cfg.INPUT.FACE_CACHE_MB = 0


def _add_solver_and_test_config(cfg: CfgNode) -> None:
    # "SGD" [paper], or "AdamW", which fits a network trained from scratch in fewer steps. Both
    # clip gradients as SOLVER.CLIP_GRADIENTS says.
    cfg.SOLVER.OPTIMIZER = "SGD"
    # Factor of the bottom-up network's learning rate: below 1 keeps pretrained weights nearer.
    cfg.SOLVER.BACKBONE_MULTIPLIER = 1.0
    # Decay per iteration of an exponential moving average of the weights, which is then evaluated
    # and loaded; 0: none [paper]. SOLVER.REFERENCE_WORLD_SIZE does not rescale it.
    cfg.SOLVER.EMA_DECAY = 0.0
    # bfloat16 autocast around the model's forward in training and evaluation on a CPU: True, False
    # or "auto", which is True where the CPU computes in it (AMX: about 3 times as fast; or
    # AVX512-BF16) and False where it would be emulated. None, which unlike False a config file may
    # replace by "auto", is False. CUDA uses detectron2's own SOLVER.AMP.ENABLED.
    cfg.SOLVER.CPU_BFLOAT16 = None

    # IoU thresholds at which the COCO-style and the WIDER FACE evaluators report AP.
    cfg.TEST.FACE_IOU_THRESHOLDS = [0.5, 0.6, 0.7, 0.8]
    # bfloat16 autocast around the network in inference only, on CPU or CUDA. (On a CPU
    # SOLVER.CPU_BFLOAT16 does it in inference, too.)
    cfg.TEST.BFLOAT16 = False
    # The metric, "task/name" as in metrics.json, whose best checkpoint is kept as
    # model_best.pth. "": none.
    cfg.TEST.BEST_METRIC = "bbox/AP50"


def _add_multi_scale_test_config(cfg: CfgNode) -> None:
    # Multi-scale testing [released], in train_net.py --eval-only, in tools/write_submission.py
    # and in srn-d2 detect; evaluations during training use one scale.
    tta = cfg.TEST.SRN_TTA = type(cfg)()
    tta.ENABLED = False
    # Side in pixels of a square with as many pixels as the largest view: 2100 for the best
    # published figures, 1400 for a GPU of 11 GB [released]. 0: by the free memory of each worker,
    # at most 2100; not for figures to be compared.
    tta.MAX_SIZE = 2100
    # Whether there are mirrored views.
    tta.FLIP = True
    # Factors of the image's sides that replace the released schedule (and MAX_SIZE). (): none do.
    tta.SCALES = ()
    # Merge the boxes of all views by voting [released]; False: by NMS at MODEL.SRN.NMS_THRESH_TEST.
    tta.VOTING = True
    # Voting keeps groups of a single box. [released] drops them.
    tta.KEEP_SINGLE = False
