"""``python -m t3vae``, which is what every job of the workflow calls.

Two habits of Python cost a job that lasts two seconds half a second: it looks for garbage
while modules are loaded, which leave none, and it frees every object at the end. Here the
first is off until the step begins, and a process that succeeded ends at once.
"""

import atexit
import gc
import os
import sys

gc.disable()

from t3vae.cli import main  # noqa: E402

try:
    main()
except SystemExit as end:
    if end.code:
        raise
atexit._run_exitfuncs()
for stream in filter(None, (sys.stdout, sys.stderr)):
    stream.flush()
os._exit(0)
