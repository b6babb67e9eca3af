"""Small helpers built on nothing of the package: errors, atomic files, graph walking, memory, plotting, timeouts."""
