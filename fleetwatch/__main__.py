"""`python -m fleetwatch`."""

from fleetwatch.cli import main

main()
