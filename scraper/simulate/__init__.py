"""Virtual servers to scrape: bodies like node_exporter's, with values that move plausibly.

curves.py    values over time as vectors: levels, and counters as their exact integrals
machine.py   what a machine exposes: its series, grouped by family, as one template and two matrices
families.py  the series of its processors, memory, disks, network devices, file systems and pods
fleet.py     N servers over a handful of machine models; their bodies and their file_sd targets
"""
