import math

import pytest
import torch

from srn_d2.modeling import LEVELS, RFE, LevelSelection, SRNHead

CHANNELS, ANCHORS = 8, 2


def make_head(stc=("p2",), str_=("p5",), **kwargs) -> SRNHead:
    return SRNHead(
        channels=CHANNELS,
        num_anchors=ANCHORS,
        level_selection=LevelSelection(stc, str_),
        **kwargs,
    )


def make_maps(head: SRNHead) -> list[torch.Tensor]:
    return [torch.rand(3, CHANNELS, 4, 5) for _ in head.level_selection.features]


def test_only_what_a_step_needs_is_computed():
    head = make_head(stc=["p2", "p4"], str_=["p4", "p7"])
    calls = {"cls": 0, "bbox": 0}
    head.cls_subnet.register_forward_hook(lambda *_: calls.update(cls=calls["cls"] + 1))
    head.bbox_subnet.register_forward_hook(lambda *_: calls.update(bbox=calls["bbox"] + 1))
    out = head(make_maps(head))
    assert [s is not None for s in out.scores_s1] == [True, False, True, False, False, False]
    assert [d is not None for d in out.deltas_s1] == [False, False, True, False, False, True]
    assert calls == {"cls": 2 + 6, "bbox": 2 + 6}
    assert all(s.shape == (3, ANCHORS, 4, 5) for s in out.scores_s2)
    assert all(d.shape == (3, ANCHORS * 4, 4, 5) for d in out.deltas_s2)


@pytest.mark.numerics
def test_first_step_reads_c_maps_and_second_step_p_maps():
    head = make_head(stc=["p3"], str_=[])
    maps = make_maps(head)  # c3, p2 .. p7
    out = head(maps)
    torch.testing.assert_close(out.scores_s1[1], head.scores(maps[0]))
    torch.testing.assert_close(out.scores_s2[1], head.scores(maps[2]))


@pytest.mark.parametrize("prior", [0.01, 0.2])
def test_a_new_head_predicts_the_prior_on_empty_maps(prior):
    head = make_head(prior_prob=prior)
    scores = head.scores(torch.zeros(1, CHANNELS, 3, 3)).sigmoid()
    torch.testing.assert_close(scores, torch.full_like(scores, prior))
    assert math.isclose(head.bbox_pred.bias.abs().max().item(), 0.0)


def test_prediction_weights_start_as_small_as_asked():
    assert make_head(prediction_init_std=0.01).bbox_pred.weight.std() < 0.02
    assert make_head().bbox_pred.weight.std() > 0.2


def test_without_rfe_the_subnets_are_retinanets_four_convolutions():
    head = make_head(use_rfe=False)
    convs = [m for m in head.cls_subnet.modules() if isinstance(m, torch.nn.Conv2d)]
    assert [c.kernel_size for c in convs] == [(3, 3)] * 4
    assert not any(isinstance(m, RFE) for m in head.modules())
    assert any(isinstance(m, RFE) for m in make_head().modules())


def test_every_parameter_gets_a_gradient():
    torch.manual_seed(0)
    head = make_head(LEVELS, LEVELS)
    for bias in (p for p in head.parameters() if p.dim() == 1):
        torch.nn.init.constant_(bias, 1.0)  # with so few channels a ReLU may be silent everywhere
    out = head(make_maps(head))
    sum(t.square().sum() for group in out for t in group if t is not None).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in head.parameters())


def gradients(head: SRNHead, maps: list[torch.Tensor]) -> list[torch.Tensor]:
    """Of the maps and of the parameters."""
    maps = [x.clone().requires_grad_() for x in maps]
    out = head(maps)
    loss = sum(t.square().sum() for group in out for t in group if t is not None)
    return list(torch.autograd.grad(loss, [*maps, *head.parameters()]))


def kept_elements(head: SRNHead, maps: list[torch.Tensor]) -> int:
    """How many numbers the forward pass keeps for the backward pass, parameters apart."""
    kept = {}

    def pack(x: torch.Tensor) -> torch.Tensor:
        kept[x.data_ptr()] = x.numel()
        return x

    parameters = {p.data_ptr() for p in head.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        head(maps)
    return sum(number for address, number in kept.items() if address not in parameters)


@pytest.mark.numerics
def test_recomputed_levels_keep_less_and_give_the_same_gradients():
    torch.manual_seed(0)
    head = make_head(prior_prob=0.5)
    recomputing = make_head(prior_prob=0.5, recomputed_levels=["p2", "p5"])
    recomputing.load_state_dict(head.state_dict())
    maps = make_maps(head)
    for ours, theirs in zip(gradients(recomputing, maps), gradients(head, maps), strict=True):
        torch.testing.assert_close(ours, theirs)
    assert kept_elements(recomputing, maps) < 0.75 * kept_elements(head, maps)


def test_a_recomputed_level_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"RECOMPUTED_LEVELS names \['c2'\].*valid are"):
        make_head(recomputed_levels=["c2"])


def test_levels_need_the_same_number_of_anchors(small_cfg):
    cfg = small_cfg("MODEL.ANCHOR_GENERATOR.SIZES", [[8, 11], [16], [32], [64], [128], [256]])
    from detectron2.modeling import build_backbone

    with pytest.raises(ValueError, match="same number of anchors"):
        SRNHead(cfg, build_backbone(cfg).output_shape())


@pytest.mark.parametrize("use_rfe", [False, True])
def test_separable_convolutions_are_a_depthwise_and_a_1x1_one(use_rfe):
    head = make_head(use_rfe=use_rfe, convolution="separable")
    convs = [layer for layer in head.cls_subnet if isinstance(layer, torch.nn.Conv2d)]
    kinds = [(conv.groups, conv.kernel_size[0]) for conv in convs]
    assert kinds == [(8, 3), (1, 1)] * (2 if use_rfe else 4)


def shared_tensors(head: SRNHead) -> tuple[bool, bool]:
    """Whether scores of the first step depend on the second step's subnet, and prediction."""
    x = torch.randn(1, 8, 8, 8)
    before = head.scores_s1(x)
    changed = []
    for module in (head.cls_subnet, head.cls_score):
        with torch.no_grad():
            for parameter in module.parameters():
                parameter += 0.3
        changed.append(not torch.equal(head.scores_s1(x), before))
        before = head.scores_s1(x)
    return changed[0], changed[1]


@pytest.mark.parametrize(
    ("first_step_subnet", "expected"),
    [("shared", (True, True)), ("own_prediction", (True, False)), ("own", (False, False))],
)
def test_what_the_first_step_shares(first_step_subnet, expected):
    head = make_head(first_step_subnet=first_step_subnet, first_step_convs=2)
    assert shared_tensors(head) == expected
    assert (head.deltas_s1(torch.randn(1, 8, 4, 4)).shape) == (1, 8, 4, 4)


def test_own_layers_exist_only_for_what_the_first_step_predicts():
    head = make_head(stc=("p2",), str_=(), first_step_subnet="own", first_step_convs=1)
    names = {name.split(".")[0] for name, _ in head.named_parameters()}
    assert {"cls_subnet_s1", "cls_score_s1"} <= names
    assert not {"bbox_subnet_s1", "bbox_pred_s1"} & names


@pytest.mark.parametrize(
    ("option", "key"),
    [
        ({"convolution": "wide"}, "MODEL.SRN.HEAD_CONVOLUTION"),
        ({"first_step_subnet": "mine"}, "MODEL.SRN.FIRST_STEP_SUBNET"),
        ({"first_step_convs": 0}, "MODEL.SRN.FIRST_STEP_CONVS"),
    ],
)
def test_a_wrong_option_names_its_key(option, key):
    with pytest.raises(ValueError, match=key):
        make_head(**option)
