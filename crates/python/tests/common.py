"""What the tests share."""

import os
import sys
import warnings

#: No test waits for longer, so that a hang ends it.
LIMIT = 60.0
CHILD = [sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "child.py")]

warnings.simplefilter("error", ResourceWarning)
