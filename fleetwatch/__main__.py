"""`python -m fleetwatch`."""

from fleetwatch.main import main

main()
