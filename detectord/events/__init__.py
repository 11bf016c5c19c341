"""Input values: from a record's bytes to an event whose fields can be asked for by path."""
