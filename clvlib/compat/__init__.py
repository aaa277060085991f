"""The faces of other packages on clvlib's engine, so that old notebooks move over by changing an import."""
