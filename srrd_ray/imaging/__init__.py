"""Images as hospitals and tools write them, in and out, and what an image is of. Imports core and storage."""
