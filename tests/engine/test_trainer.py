import pytest
import torch

from srn_d2.engine import SRNTrainer


@pytest.mark.parametrize(("name", "kind"), [("SGD", torch.optim.SGD), ("AdamW", torch.optim.AdamW)])
def test_optimizer_is_the_one_named_and_clips(small_cfg, name, kind):
    cfg = small_cfg("SOLVER.OPTIMIZER", name, "SOLVER.CLIP_GRADIENTS.CLIP_VALUE", 0.5)
    model = torch.nn.Linear(4, 4)
    optimizer = SRNTrainer.build_optimizer(cfg, model)
    assert isinstance(optimizer, kind)
    model.weight.grad = torch.full_like(model.weight, 100.0)
    optimizer.step()
    assert model.weight.grad.norm().item() == pytest.approx(0.5)


def test_unknown_optimizer_lists_the_valid_ones(small_cfg):
    with pytest.raises(ValueError, match=r"SOLVER\.OPTIMIZER is 'Adam'; valid are .*AdamW"):
        SRNTrainer.build_optimizer(small_cfg("SOLVER.OPTIMIZER", "Adam"), torch.nn.Linear(1, 1))
