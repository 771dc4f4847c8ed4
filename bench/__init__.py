"""Benchmarks. `make bench` prints the table of bench/README.md; each module runs by itself too.

Server on core 0, driver on core 1, everything on loopback, medians of three: only ratios travel from machine to machine.
"""
