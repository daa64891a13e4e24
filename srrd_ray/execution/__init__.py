"""Work items, input hashes, sidecars, locks and the runner of work items. Imports core and storage."""
