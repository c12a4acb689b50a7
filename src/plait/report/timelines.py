"""Pictures of a prediction's recordings."""

from pathlib import Path

import numpy as np

from plait.errors import PlaitError
from plait.recogniser.predict import read_predicted
from plait.recogniser.recognise import recognise, rows_of
from plait.recogniser.timeline import read_timeline
from plait.recogniser.writers import file_stems
from plait.report.timeline import Slots, write_timeline_picture


def write_pictures(out: Path) -> list[Path]:
    """A picture `NAME.svg` of each recording of the prediction in `out`, unless it stands there.

    Raises:
        DataError: a file of the prediction is missing or damaged, or a picture cannot be written.
    """
    predicted = read_predicted(out)
    table = read_timeline(out, predicted.activities)
    pictures = []
    for name, stem in file_stems(predicted.recordings).items():
        path = out / f"{stem}.svg"
        rows, labels = rows_of(table, name), predicted.recordings[name].spans
        if not path.exists() and (len(rows) or labels):
            found = recognise(predicted, rows)
            seen = rows["seen"].to_list()
            complete = {*map(frozenset, seen)} <= {frozenset(max(seen, key=len, default=()))}
            slots = Slots(found.slots.starts_s, found.slots.stops_s, found.slots.scores)
            if not complete:  # windows themselves, for slots are of several
                starts, stops = rows["start_s"].to_numpy(), rows["stop_s"].to_numpy()
                slots = Slots(starts, stops, np.array(rows["scores"].to_list()), seen)
            try:
                write_timeline_picture(path, name, predicted.activities, slots, found.segments, labels)
            except PlaitError as error:
                raise type(error)(f"{path}: {error}") from error
        pictures.append(path)
    return pictures
