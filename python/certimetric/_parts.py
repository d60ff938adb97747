"""The folder of a run's finished points, from which a later run goes on.

::

    run.parquet.parts/
        run.json                          what determines the answers: hashes of the data, settings, versions
        points-000000000-000000004.npz    the answers for some consecutive points
        ...
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from certimetric._files import write_text
from certimetric.certification import Certification
from certimetric.exceptions import DataError, InputError, OutputError

__all__ = ["Parts"]


@dataclass(frozen=True)
class Parts:
    """Finished points in files of consecutive ones, each of which is whole or not there."""

    folder: Path

    @classmethod
    def beside(cls, out: Path) -> "Parts":
        """The folder that belongs to a result."""
        return cls(out.with_name(f"{out.name}.parts"))

    def count(self) -> int:
        """Number of finished points."""
        return sum(rows.stop - rows.start for rows, _ in self._files())

    def _files(self) -> Iterator[tuple[slice, Path]]:
        """The points of each file, in order; what is in one is not in another."""
        end = 0
        for path in sorted(self.folder.glob("points-*-*.npz")):
            start, stop = map(int, path.stem.split("-")[1:])
            # Two runs at the same time, which are allowed, may have cut the points in different places.
            if end <= start:
                end = stop
                yield slice(start, stop), path

    def refuse(self) -> None:
        """Raise where there are finished points of an earlier run."""
        if count := self.count():
            raise InputError(
                f"--out: {self.folder} has {count} finished points of a run that was stopped. Add --resume "
                "to go on from there, or remove that folder to begin again."
            )

    def claim(self, origin: Mapping[str, Any]) -> None:
        """Make the folder that of a run, or see that it is. The origin of a run is plain JSON, by name."""
        text = json.dumps(origin, indent=1) + "\n"
        if not self.count():
            self._begin(text)
        elif differences := list(_differences(self._origin(), json.loads(text))):
            raise InputError(
                f"--resume: {self.folder} is of another run: {'; '.join(differences)}. Give the same data "
                "and options, or remove that folder to begin again."
            )

    def _begin(self, text: str) -> None:
        try:
            self.folder.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(f"{self.folder}: cannot be made: {error.strerror}.") from error
        write_text(self.folder / "run.json", text)

    def _origin(self) -> dict[str, Any]:
        source = self.folder / "run.json"
        try:
            origin: dict[str, Any] = json.loads(source.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(
                f"{source}: cannot be read, so that nothing says which run this is of."
            ) from error
        return origin

    def read(self) -> dict[int, Certification]:
        """The finished points, by the first of each part."""
        found = {}
        for rows, path in self._files():
            try:
                found[rows.start] = Certification.load(path)
            except DataError:
                # Damaged: then it is to be computed again.
                path.unlink()
        return found

    def put(self, start: int, cert: Certification) -> None:
        """Keep the points from one on."""
        cert.save(self.folder / f"points-{start:09d}-{start + len(cert):09d}.npz")

    def remove(self) -> None:
        """Remove what is kept, which is in the result by now or is nothing; what others put there stays."""
        for pattern in ("run.json", "points-*-*.npz", ".certimetric-*.part"):
            for path in self.folder.glob(pattern):
                path.unlink()
        if not any(self.folder.iterdir()):
            self.folder.rmdir()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """What stops the work in this block says what is kept and how to go on; an empty folder is not."""
        try:
            yield
        except KeyboardInterrupt as error:
            raise KeyboardInterrupt(self._advice()) from error
        except OutputError as error:
            raise OutputError(f"{error} {self._advice()}".rstrip()) from error
        finally:
            if self.folder.is_dir() and not self.count():
                self.remove()

    def _advice(self) -> str:
        count = self.count()
        kept = f"{count} finished points are kept in {self.folder}"
        return f"{kept}; the same command with --resume goes on from there." if count else ""


def _differences(there: dict[str, Any], here: dict[str, Any]) -> Iterator[str]:
    for name in dict.fromkeys((*there, *here)):
        old, new = there.get(name), here.get(name)
        if old != new:
            # Data is there as a hash, which tells a reader nothing.
            yield f"other {name}" if name.endswith("data") else f"{name} was {old} and is {new}"
