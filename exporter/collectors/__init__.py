"""One module per collector. Names, labels, types, units and help texts are those of Prometheus's node_exporter."""
