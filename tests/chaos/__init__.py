"""The fault runner: whole daemons on Apache Kafka under faults, held against the uninterrupted answer.

A *history* is seeded traffic on one input topic, read by one daemon that is started again whenever it ends. A
*run* is one fault of it and the traffic around it. When the history has come to rest, what a reader of
committed records saw is compared, document for document, with what `detectord replay` says to the same input.

`traffic` makes the input · `feeder` writes it, `reader` reads what comes out · `instance` keeps the daemon
going · `proxy` stands between it and the broker · `faults` are the kinds of faults · `stage` is all of these
together · `play` plays a history · `history` compares · `results` keeps rows and makes the table of
docs/reliability.md.

Rule 1: a seed decides the traffic, the kinds of faults and when they strike. It cannot decide what else the
machine is doing, so a seed that failed may need several tries.
Rule 2: nothing here is lenient. What is not the answer is a finding, also if it is only late or twice.
"""
