"""`python -m x2vlm` is `x2vlm`; torchrun starts it so."""

import sys

from x2vlm.cli import main

sys.exit(main())
