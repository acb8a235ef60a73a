"""The functions of PromQL, by kind; `promql.functions.calls` is their table."""
