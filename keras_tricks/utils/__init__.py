"""Small helpers that import no other part of the package: errors, atomic files, graphs, memory, plotting, timeouts."""
