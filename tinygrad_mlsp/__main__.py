"""`python -m tinygrad_mlsp` is `tinygrad-mlsp`."""

import sys

from .cli import main

sys.exit(main())
