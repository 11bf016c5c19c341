"""What detectord costs, measured side by side: `make bench` (docs/benchmarks.md says how to read it).

Rule 1: a ratio is of two things measured in the same run, in turns, so that a machine that is slow for a
while is slow for both. A figure without a ratio is good for nothing but the machine it was seen on.
Rule 2: the program is measured through doors that others use too (rules.load, compile_rule, decode,
Detector, replay, the daemon); nothing in it knows of the bench.
Rule 3: every input comes from a seed, or from the data beside the repository, of which nothing is kept.
"""
