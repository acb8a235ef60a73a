"""The Prometheus text format and OpenMetrics, read and written."""
