"""`python -m ropewalk` is the command line too."""

import sys

from ropewalk.cli import main

if __name__ == "__main__":
    sys.exit(main())
