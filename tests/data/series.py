"""Small DICOM files for tests, written with pydicom."""

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

MR, ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1"
SEGMENTATION, CONTOURS = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.481.3"


def empty(kind: str, series: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = kind
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    header.SOPClassUID, header.SOPInstanceUID = kind, meta.MediaStorageSOPInstanceUID
    header.StudyInstanceUID, header.SeriesInstanceUID, header.FrameOfReferenceUID = "1.2.3", series, "1.2.4"
    header.Modality, header.PatientName, header.PatientID = "MR", "Synthetic", "0"
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated = header.BitsStored = 16
    header.HighBit, header.PixelRepresentation = 15, 1
    return header


def write_series(folder: Path, array: np.ndarray, *, uid="1.2.5", name="{:03d}.dcm", keep=None, change=None):
    """A slice per file, 4 mm apart, pixels of 0.8 x 0.9 mm; `change(header, number)` spoils one."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, plane in enumerate(array.astype(np.int16)):
        if keep is not None and number not in keep:
            continue
        header = empty(MR, uid)
        header.Rows, header.Columns = plane.shape
        header.PixelData = plane.tobytes()
        header.PixelSpacing, header.SliceThickness = [0.8, 0.9], 4.0
        header.ImagePositionPatient = [5.0, -3.0, 4.0 * number]
        header.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        header.InstanceNumber = number + 1
        if change is not None:
            change(header, number)
        header.save_as(folder / name.format(number), enforce_file_format=True)
    return folder


def write_enhanced(path: Path, array: np.ndarray, positions, *, slopes=None):
    """All frames in one file; `positions` along z in mm and `slopes` of intensities, in the order of frames."""
    header = empty(ENHANCED_MR, "1.2.6")
    header.NumberOfFrames, header.Rows, header.Columns = array.shape
    header.PixelData = array.astype(np.int16).tobytes()
    measures, plane, shared = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness, measures.SpacingBetweenSlices = [0.8, 0.9], 4.0, 4.0
    plane.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = Sequence([measures]), Sequence([plane])
    header.SharedFunctionalGroupsSequence = Sequence([shared])
    frames = []
    for along in positions:
        position, frame = Dataset(), Dataset()
        position.ImagePositionPatient = [5.0, -3.0, float(along)]
        frame.PlanePositionSequence = Sequence([position])
        frames.append(frame)
    for frame, slope in zip(frames, slopes or [], strict=False):
        scale = Dataset()
        scale.RescaleSlope, scale.RescaleIntercept, scale.RescaleType = slope, 0, "US"
        frame.PixelValueTransformationSequence = Sequence([scale])
    header.PerFrameFunctionalGroupsSequence = Sequence(frames)
    path.parent.mkdir(parents=True, exist_ok=True)
    header.save_as(path, enforce_file_format=True)
    return path
