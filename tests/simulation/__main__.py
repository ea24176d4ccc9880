"""``python -m tests.simulation --seed N`` or ``--seeds N --jobs J``."""

import sys

from tests.simulation.run import main

sys.exit(main())
