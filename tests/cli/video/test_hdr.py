"""HLG and PQ for the detector: against values of the standards."""

import numpy as np
import pytest
from av.video.reformatter import ColorPrimaries, ColorTrc

from srn_d2.cli.video.hdr import hlg_light, is_hdr, pq_light, to_sdr

HLG, PQ = int(ColorTrc.ARIB_STD_B67), int(ColorTrc.SMPTE2084)


def test_known_levels():
    """BT.2408, table 1: diffuse white is 75 % HLG and 58 % PQ; 18 % grey 38 % and 38 %."""
    assert hlg_light(np.array([0, 0.75])) == pytest.approx([0, 1])
    assert hlg_light(np.array(0.38)) * 203 == pytest.approx(26, abs=1)
    assert pq_light(np.array([0, 0.58, 1])) == pytest.approx([0, 1, 10000 / 203], abs=0.01)
    assert pq_light(np.array(0.38)) * 203 == pytest.approx(26, abs=1)


@pytest.mark.parametrize("transfer", [HLG, PQ])
def test_grey_stays_grey_and_order_is_kept(transfer):
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    sdr = to_sdr(ramp, transfer, int(ColorPrimaries.BT2020)).astype(int)
    assert (np.ptp(sdr, axis=2) <= 1).all()
    assert (np.diff(sdr[0, :, 0]) >= 0).all()
    assert (sdr[0, 0, 0], sdr[0, -1, 0]) == (0, 255)


def test_colours_of_bt2020_are_stronger_in_bt709():
    skin = np.array([[[140, 110, 95]]], np.uint8)
    wide = to_sdr(skin, HLG, int(ColorPrimaries.BT2020)).astype(int)[0, 0]
    narrow = to_sdr(skin, HLG, int(ColorPrimaries.BT709)).astype(int)[0, 0]
    assert np.ptp(wide) > np.ptp(narrow) > 0
    assert not is_hdr(int(ColorTrc.BT709))
