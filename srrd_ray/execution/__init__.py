"""Work items, input hashes, sidecars, locks and the runner that carries work out through an executor. Imports core and storage."""
