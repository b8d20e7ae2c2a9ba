"""``python -m srn_d2.cli`` is ``srn-d2``."""

import sys

from . import main

sys.exit(main())
