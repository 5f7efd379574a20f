"""`python -m sparsejax`, the same as the `sparsejax` command."""

import sys

from sparsejax.cli import main

if __name__ == "__main__":
    sys.exit(main())
