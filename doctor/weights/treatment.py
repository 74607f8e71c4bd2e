"""What is done with a plan: nothing, a repaired copy, or a repair in place that can be undone."""

from pathlib import Path

from doctor.weights.entries import Checkpoint
from doctor.weights.inspection import Inspection
from doctor.weights.undo import find_interrupted, finish, read_undo, repair_in_place, restore
from doctor.weights.writer import Progress, default_out, write_repaired


def write(inspection: Inspection, out: Path | None, progress: Progress = lambda _: None) -> Path | None:
    """Write a repaired copy to ``out`` (default: beside the checkpoint); None if there is nothing to repair."""
    if not inspection.plan.rescales:
        return None
    return write_repaired(
        inspection.checkpoint, inspection.plan, out or default_out(inspection.checkpoint.path), progress
    )


def write_in_place(inspection: Inspection) -> Path | None:
    """Repair the checkpoint itself; returns the undo file, None if there is nothing to repair."""
    return repair_in_place(inspection.checkpoint, inspection.plan) if inspection.plan.rescales else None


def finish_interrupted(checkpoint: Checkpoint) -> str:
    """Finish a repair in place that was cut off, and say so; empty if there is none. To be called before measuring."""
    found = find_interrupted(checkpoint.files[0].parent)
    if found is None:
        return ""
    undo, _ = found
    finish(undo)
    return (
        f"{undo.path}: a repair in place was interrupted and is now finished; --undo {undo.path} restores the original"
    )


def undo(path: Path) -> str:
    """Restore what an undo file holds, and say what was found and done."""
    saved = read_undo(path)
    state = restore(saved)
    count = len(saved.saved)
    tensors = "tensors" if count > 1 else "tensor"
    return f"{path}: found the checkpoint {state.value}; {count} {tensors} restored, undo file removed"
