"""Evaluation: events and hits in, detections and changed state out. No I/O, no clock, no logging."""
