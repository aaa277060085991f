"""Who watches, who buys, and when (notebook 01)."""
