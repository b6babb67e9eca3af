"""Many runs, one table: what each trick buys (`ablation`), what scaling costs (`scaling`), curves side by side
(`compare`).
"""
