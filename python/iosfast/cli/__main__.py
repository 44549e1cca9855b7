"""``python -m iosfast.cli``."""

import sys

from . import main

sys.exit(main())
