"""CTs from a DICOMweb server, and results back to it: QIDO-RS, WADO-RS and STOW-RS."""
