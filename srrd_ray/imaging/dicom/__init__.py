"""DICOM series in and out: files, headers, pixels, segmentations."""
