"""The faces of all frames of a picture as a dict, for files and answers."""

from srn_d2.data.image_frames import ImageFrame, ImageFrames

from .faces import Faces


class FrameFaces:
    """The faces of a picture, frame by frame.

    Args:
        frames: the picture.

    Attributes:
        num_frames: number of frames added.
        durations: their durations in seconds; empty unless it is an animation.
        notes: what is to be known of the picture: "scaled", "left_out" -> text.
    """

    def __init__(self, frames: ImageFrames):
        self.num_frames = 0
        self.durations: list[float] = []
        self.notes: dict[str, str] = {}
        self._is_single = frames.num_frames == 1
        self._frames: list[dict] = []
        if frames.num_left_out:
            text = f"{frames.num_left_out} previews or gain maps in the file are left out"
            self.notes["left_out"] = text

    def add(self, frame: ImageFrame, faces: Faces) -> None:
        """Append the faces of the next frame."""
        record = faces.to_dict()
        if frame.duration is not None:
            start = sum(self.durations)
            record |= {"time": round(start, 3), "duration": round(frame.duration, 3)}
            self.durations.append(frame.duration)
        if frame.scaled is not None:
            self.notes.setdefault("scaled", f"values of {frame.scaled} are scaled to 0 to 255")
        self._frames.append(record)
        self.num_frames += 1

    def to_dict(self) -> dict:
        """{"height", "width", "faces"}, as ``Faces.to_dict``, of at least one frame.

        Of a picture of several frames height and width are those of the first, each face has its
        "frame", counted from 0, and "frames" has for each {"height", "width"}, of an animation
        with "time" and "duration" in seconds. "notes" is there if there is one.
        """
        first = self._frames[0]
        result = {"height": first["height"], "width": first["width"]}
        if self._is_single:
            result["faces"] = first["faces"]
        else:
            result["faces"] = [
                {**face, "frame": index}
                for index, frame in enumerate(self._frames)
                for face in frame["faces"]
            ]
            result["frames"] = [
                {key: value for key, value in frame.items() if key != "faces"}
                for frame in self._frames
            ]
        if self.notes:
            result["notes"] = dict(self.notes)
        return result
