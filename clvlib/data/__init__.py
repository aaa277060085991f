"""Tables come in: the contract, the reader, quarantine, summaries, and the data sets that people know."""
