"""The service gives way to the drive."""

import os
import subprocess
import sys

PROGRAM = """
import os
from feedback_service.priority import give_way
give_way(7)
give_way(3)  # never back up
print(os.nice(0))
try:
    print(open("/proc/self/autogroup").read().split()[-1])
except OSError:
    print(os.nice(0))
"""


def test_a_process_lowers_itself_and_the_group_that_it_leads():
    before = os.nice(0)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, start_new_session=True
    )
    nice, group = map(int, done.stdout.split())
    assert nice == max(7, before)
    assert group == nice
