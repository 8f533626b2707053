"""The benchmark of training measures both sides on the same rows."""

import pytest

from labkit.bench import train


def test_padded_rows_are_equally_long_and_pads_are_neither_read_nor_learned():
    rows = train.padded([{"input_ids": [5], "labels": [5]}, {"input_ids": [6, 7], "labels": [-100, 7]}])
    assert rows[0] == {"input_ids": [5, 0], "attention_mask": [1, 0], "labels": [5, -100]}
    assert rows[1] == {"input_ids": [6, 7], "attention_mask": [1, 1], "labels": [-100, 7]}


@pytest.mark.slow
def test_both_sides_train_as_many_steps_to_a_like_loss():
    speed, loss = train.measure(quick=True)
    assert speed.ours > 0 and speed.theirs > 0 and speed.unit == "tokens/s without padding"
    assert speed.name.endswith("4 steps of 8 rows") and "padded to one length" in speed.rival
    assert loss.ours == pytest.approx(loss.theirs, rel=0.1) and not loss.more_is_better
