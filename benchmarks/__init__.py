"""Performance as ratios, measured side by side in one run. `make bench` runs all and writes bench.json.

Every benchmark checks its result before it times anything. Nothing here is asserted in a test: a time on a shared
machine proves nothing, a ratio of two times of the same run says something.
"""
