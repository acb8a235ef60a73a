"""The PromQL language: text to Prometheus's syntax tree and back, without evaluating anything.

tokens        what the lexer yields
lexer         text to tokens
literals      numbers, durations and strings, spelled as in Go
nodes         the syntax tree: as written, with parentheses and positions
parser        tokens to a tree
durations     the arithmetic of ranges, steps and offsets
signatures    the functions and the types of their arguments
check         the types of a tree
printer       a tree to text: on one line, or over several (`pretty`)
treejson      a tree as the HTTP API shows it

The grammar and every error text are those of prometheus promql/parser, version 3.9: newer syntax is read, too.
"""
