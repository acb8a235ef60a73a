"""The Prometheus text format and OpenMetrics, read and written, and the protobuf exposition, read."""
