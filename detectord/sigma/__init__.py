"""Sigma rules to rule files: what `detectord import sigma` does.

    files ─documents→ Document ─convert→ pySigma rule ─pipelines, backend→ EQL text ─layout→ query
       ─rule_file→ TOML text, or a row of the ledger that says why not

Rule 1: pySigma and tomlkit are an optional extra of the package. Only `pipelines`, `backend`, `convert` and
`rule_file` import them, and only the command imports those.
Rule 2: Sigma rules come from anywhere. Whatever one of them does to us or to pySigma is a row of the
ledger, never an end of the import.
Rule 3: a query is written only if `eql.analyse` has nothing against it. What cannot be said in EQL with
the same meaning is refused; what depends on the data at hand (a field that nothing maps) is warned of.
"""
