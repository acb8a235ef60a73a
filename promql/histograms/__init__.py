"""Native histograms as columns.

model       one sample; many samples as arrays
arithmetic  samples with other schemas, zero buckets and bounds made alike, scaled, added up by groups
resets      whether a counter was reset between two samples
statistics  mean, quantiles, fractions, variance
texts       a sample in label values and messages

The engine does not evaluate them yet: nothing but the tests uses this package so far.
"""
