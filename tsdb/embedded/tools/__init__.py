"""What is done with a store as a whole, from outside: `fleetwatch db`, and snapshots over the API.

inspection, status         what is in a store, also while another process writes to it
checks, block_checks       whether it is sound
backup, vacuum             copies of it, and its file made small
series_walk, exports       samples out, as OpenMetrics text
imports, openmetrics_reader  samples in
parquet                    both, as Parquet
"""
