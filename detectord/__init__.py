"""detectord: ECS events in, scored alerts out."""

__version__ = "0.1.0"
