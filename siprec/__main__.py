"""`python -m siprec` is `siprecd`."""

from siprec.cli import main

main()
