"""Bytes of the embedded store's columns.

vectors     int64 and float64 vectors, each by itself
matrix      the samples of a block; directory says what is where in them, numbers, references and residuals make them
            small
series      label sets, in groups
"""
