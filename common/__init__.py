"""What every room shares: durations, label sets, matchers, errors, logging.

Nothing here knows of samples, stores or HTTP, and nothing here imports another room.
"""
