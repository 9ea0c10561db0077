"""`python -m spineloss.cli`."""

from spineloss.cli import main

main()
