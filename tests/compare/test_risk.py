"""Canaries are secrets of their own; exposure ranks; the network is watched."""

import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from labkit.compare import risk
from labkit.compare.training import closed_book
from labkit.lab import Lab
from labkit.metrics import contains
from labkit.profile import POCKET
from labkit.tune.prepare import Example, dataset


@pytest.fixture(scope="module")
def lab() -> Lab:
    return Lab(POCKET, "smoke", progress=False)


def test_every_canary_has_a_name_of_its_own_and_its_answer_tells_the_code():
    found = [item for some in risk.canaries().values() for item in some]
    assert len({item.question for item in found}) == len(found) == risk.EACH * len(risk.REPEATS)
    assert all(len(item.gold) == 4 and contains(item.answer, item.gold) for item in found)
    assert risk.canaries(2)[16] == risk.canaries(2)[16]


def test_exposure_is_highest_for_the_likeliest_code_and_nothing_for_the_last(monkeypatch):
    item = risk.canaries(1)[1][0]
    ranked = {"first": [0.0, *range(1, 8)], "last": [9.0, *range(1, 8)], "middle": [4.5, *range(1, 8)]}
    bits = {}
    for name, losses in ranked.items():
        monkeypatch.setattr(
            risk, "_losses", lambda model, item, codes, losses=losses: risk.np.array(losses[: len(codes)])
        )
        bits[name] = risk.exposure(None, item, count=7)
    assert (bits["first"], bits["last"]) == (3.0, 0.0) and bits["middle"] == pytest.approx(math.log2(8 / 5))


def test_the_loss_of_each_code_is_the_models_own(lab):
    item = risk.canaries(1)[1][0]
    losses = risk._losses(lab.model, item, [item.gold, "0000", "1111"])
    assert losses.shape == (3,) and (losses > 0).all()
    row = dataset([Example(closed_book([item])[0])], lab.model.tokenizer, lab.model.context).rows[0]
    ids, labels = (torch.tensor(row[name]) for name in ("input_ids", "labels"))
    with torch.inference_mode():
        logits = lab.model.network(ids[None]).logits[0, :-1].float()
    assert losses[0] == pytest.approx(cross_entropy(logits, labels[1:], reduction="sum").item(), rel=1e-2)


@pytest.mark.slow
def test_no_arm_of_the_pocket_profile_connects_to_another_machine(lab):
    assert risk.connections(lab, "rag") == 0
