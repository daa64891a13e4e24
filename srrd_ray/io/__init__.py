"""Files in and out. Nothing here knows a stage, a model or Ray."""
