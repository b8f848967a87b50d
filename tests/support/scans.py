"""Write small DICOM and NIfTI files. Needs pydicom, nibabel."""

from pathlib import Path

import numpy as np


def write_dicom(path: Path, values, patient="", **tags):
    """Write grey values (h, w) or (frames, h, w), or colours (h, w, 3), as an uncompressed DICOM file."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    values = np.asarray(values)
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.{abs(hash(str(path)))}"
    colours = values.shape[-1] == 3 and values.dtype == np.uint8
    frames = values.ndim > (3 if colours else 2)
    dataset.Rows, dataset.Columns = values.shape[-3:-1] if colours else values.shape[-2:]
    dataset.SamplesPerPixel = 3 if colours else 1
    dataset.PhotometricInterpretation = "RGB" if colours else "MONOCHROME2"
    if colours:
        dataset.PlanarConfiguration = 0
    if frames:
        dataset.NumberOfFrames = len(values)
    bits = 8 * values.dtype.itemsize
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit, dataset.PixelRepresentation = bits - 1, int(values.dtype.kind == "i")
    dataset.PixelData = values.tobytes()
    dataset.PatientID = patient
    for name, value in tags.items():
        setattr(dataset, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def write_nifti(path: Path, values):
    """Write values (x, y, z) or (x, y, z, t) as a NIfTI file."""
    import nibabel

    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(np.asarray(values), np.eye(4)), path)
    return path
