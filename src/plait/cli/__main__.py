"""`python -m plait.cli`."""

from plait.cli import main

main()
