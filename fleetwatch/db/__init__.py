"""`fleetwatch db`: one module for each group of commands; `fleetwatch.db_cli` has their flags."""
