"""`python -m spknorm COMMAND`: the same as the console script `spknorm`."""

import sys

from spknorm.cli import main

if __name__ == "__main__":
    sys.exit(main())
