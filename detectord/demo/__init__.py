"""The demonstration: the real daemon on an embedded broker, with synthetic traffic and attacks."""
