"""Lesson 10 runs headlessly at smoke size, and shows what it promises."""

import pytest


@pytest.mark.notebook
@pytest.mark.slow
def test_the_lesson_refuses_merges_exports_serves_and_stops(lesson):
    outputs = lesson("10_deploy")
    for said in ("checks failed: broken weights 1 (at most 0)", "3 of 3 answers are the same, word for word",
                 "Linear4bit", "times as much as merging in full precision", "## What it passed",
                 "model.safetensors in copy is damaged or missing", "model 'norvale' listens on 127.0.0.1",
                 "3 of 3 answers are the same", "first piece after", "Address already in use",
                 "unknown profile 'no-such-model'", "stopped; the port is free"):  # fmt: skip
        assert said in outputs
    assert "labkit-serve" not in outputs
