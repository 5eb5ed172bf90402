"""`python -m fuseline` is the command `fuseline`."""

from fuseline._cli import main

main()
