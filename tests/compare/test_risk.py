"""The network is watched."""

import pytest

from labkit.compare import small

WATCHED = """
import sys
far = []
def hook(event, args):
    if event == 'socket.connect' and isinstance(args[1], tuple) and args[1][0] not in ('127.0.0.1', '::1', 'localhost'):
        far.append(args[1])
sys.addaudithook(hook)
import labkit
lab = labkit.open('pocket', size='smoke', progress=False)
lab.arm('rag').answer([lab.questions[0].question])
print(len(far))
"""


@pytest.mark.slow
def test_no_arm_of_the_pocket_profile_connects_to_another_machine():
    assert small.alone(["-c", WATCHED], "rag did not answer") == "0"
