"""Studies of many runs: ablations (`ablation`), scaling (`scaling`) and comparisons of training curves (`compare`)."""
