"""Rule files, their evaluation, alert state and notifications. No part of it exists yet."""
