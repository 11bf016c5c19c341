"""EQL's functions: one decorated function each, with its signature and examples beside it.

Null arguments, the wrong kind of value and `~` are handled here, once, by `Function.call`.
"""
