"""Large blocks go back to the system when they are freed, however large the blocks before them were."""

import subprocess
import sys

import pytest

SCRIPT = """
import numpy as np
from streams.memory import give_back_large_blocks

def resident() -> int:
    return int(open("/proc/self/statm").read().split()[1]) * 4096

told = give_back_large_blocks()
np.ones(30 << 17)  # 30 MB, freed at once: glibc would now take blocks up to 30 MB from its heap
kept, before = [], resident()
for _ in range(20):
    block = np.ones(4 << 17)  # 4 MB
    kept.append(np.ones(20_000))  # 160 kB, which stay
    del block
last = np.ones(4 << 17)
kept.append(np.ones(20_000))
del last
print(told, resident() - before - sum(k.nbytes for k in kept))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc alone needs to be told")
def test_what_a_large_block_took_is_given_back() -> None:
    told, grown = subprocess.check_output([sys.executable, "-c", SCRIPT], text=True).split()
    if told == "False":
        pytest.skip("no glibc")
    assert int(grown) < 2 << 20
