"""iNaturalist 2017, birds (Aves), for pre-training: ``inat-aves:FOLDER``. There are no landmarks.

Layout: ``train_val_images/Aves/<species>/<name>.jpg`` as unpacked, and ``train2017.json`` for ``images=all | draw``.

Cheng et al. 2021 and LEAD pre-train on 100,000 images drawn at random from Aves, known from their list alone
(``-D list_file=FILE``, one path a line). ``-D images=draw`` draws as many by a seed of ours, ``-D images=all``
takes the 214,295 training images.

Reference: Van Horn et al., The iNaturalist Species Classification and Detection Dataset, CVPR 2018, table 1.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bench.errors import BenchError
from bench.file_kinds import misfit
from bench.landmarks import DatasetInfo, DatasetProvider, LandmarkSchema, Requirement
from bench.seeds import numpy_generator
from datasets.listed import ListedDataset
from datasets.published import data_folder, options_of, require_count, require_split, unlabelled
from datasets.text_lists import no_twice, read_lines

INFO = DatasetInfo(
    title="iNaturalist 2017, Aves",
    tier="published",
    licence="non-commercial research and educational use; each photograph has its own licence",
    citation="Van Horn, Mac Aodha, Song, Cui, Sun, Shepard, Adam, Perona, Belongie: The iNaturalist Species "
    "Classification and Detection Dataset. CVPR 2018",
    category="bird",
)
AVES_TRAIN = 214_295
AVES_VAL = 21_226
PUBLISHED_DRAW = 100_000

_FOLDER = "train_val_images"
_SITE = "the iNaturalist 2017 competition, https://github.com/visipedia/inat_comp/tree/master/2017"
_LIST_SITE = (
    "its authors; ask at the ContrastLandmarks repository, https://github.com/cvl-umass/contrast-landmark"
)
_LAYOUT = f"{_FOLDER}/Aves/ and train2017.json"


class InatOptions(BaseModel):
    """Which images."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    images: Literal["list", "draw", "all"] = Field(
        "list", description="the authors' 100,000 by their list, a draw of ours, or all for training"
    )
    list_file: str = Field("aves_100k.txt", description="file of images=list, in FOLDER or absolute")
    draw_count: int = Field(PUBLISHED_DRAW, ge=1, description="images of images=draw")
    seed: int = Field(0, ge=0, description="seed of images=draw")
    check_counts: bool = Field(True, description="insist on the published numbers of images")


class InatProvider(DatasetProvider):
    """Opens ``inat-aves:FOLDER``."""

    name: ClassVar[str] = "inat-aves"
    summary: ClassVar[str] = "iNaturalist 2017 birds without landmarks, for pre-training (inat-aves:FOLDER)"
    Options: ClassVar[type[BaseModel]] = InatOptions
    needs_location: ClassVar[bool] = True
    info: ClassVar[DatasetInfo | None] = INFO

    def splits(self, location: str | None, options: BaseModel) -> tuple[str, ...]:
        del location, options
        return ("pretrain",)

    def open(self, split: str, location: str | None, options: BaseModel) -> ListedDataset:
        choice = options_of(options, InatOptions, self.name)
        require_split(split, ("pretrain",), self.name)
        folder = data_folder(location, self.name, _LAYOUT)
        paths = (
            listed_images(folder, choice) if choice.images == "list" else competition_images(folder, choice)
        )
        return ListedDataset(
            name=self.name,
            split=split,
            info=INFO,
            schema=LandmarkSchema(names=()),
            entries=[unlabelled(path, folder / _FOLDER / path) for path in paths],
        )

    def evaluation_splits(self, location: str | None, options: BaseModel) -> tuple[str, str]:
        del location, options
        raise BenchError(
            "data set 'inat-aves' has no landmarks: it serves pre-training alone",
            hint="Its split is 'pretrain'; measure on cub:FOLDER.",
        )

    def pretraining_splits(self, location: str | None, options: BaseModel) -> tuple[str, ...]:
        return self.splits(location, options)

    def requirements(self, options: BaseModel) -> tuple[Requirement, ...]:
        choice = options_of(options, InatOptions, self.name)
        counted = choice.check_counts
        whole = AVES_TRAIN + AVES_VAL if counted and choice.images != "list" else None
        images = Requirement(f"{_FOLDER}/Aves", "the photographs of birds", _SITE, "folder", whole)
        if choice.images == "list":
            count = PUBLISHED_DRAW if counted else None
            return (
                images,
                Requirement(
                    choice.list_file, "the 100,000 images of Cheng et al. 2021", _LIST_SITE, count=count
                ),
            )
        return (images, Requirement("train2017.json", "which images are for training", _SITE))


def listed_images(folder: Path, options: InatOptions) -> list[str]:
    """Paths below ``train_val_images``, by the authors' list.

    Raises:
        BenchError: where the list is missing, has another length, or names something else than birds.
    """
    path = folder / options.list_file
    if not path.is_file():
        raise BenchError(
            f"{path} is missing: the list of the {PUBLISHED_DRAW:,} Aves images",
            hint="The images were drawn by the benchmark's authors, so their list is needed; it is had from "
            f"{_LIST_SITE}. Name another file with -D list_file=FILE, or use -D images=draw or all.",
        )
    images = []
    for number, line in enumerate(read_lines(path, source=_LIST_SITE), 1):
        parts = PurePosixPath(line.split(",")[0].replace("\\", "/")).parts[-3:]
        if len(parts) != 3 or parts[0] != "Aves" or ".." in parts:
            raise BenchError(
                f"{path}, line {number}: {line[:80]!r} is no image of Aves",
                hint=f"One path a line, such as {_FOLDER}/Aves/Turdus merula/NAME.jpg.",
            )
        images.append("/".join(parts))
    no_twice(path, images)
    if options.check_counts:
        require_count(len(images), PUBLISHED_DRAW, f"images in {path}", f"It is had from {_LIST_SITE}.")
    return images


class _Image(BaseModel):
    file_name: str


class _Competition(BaseModel):
    images: list[_Image]


def competition_images(folder: Path, options: InatOptions) -> list[str]:
    """Paths below ``train_val_images`` of the training images of Aves, all or drawn, sorted.

    Raises:
        BenchError: where ``train2017.json`` is missing, damaged, or lists another number of birds.
    """
    path = folder / "train2017.json"
    if not path.is_file():
        raise BenchError(f"{path} is missing", hint=f"It is in train_val2017.zip, had from {_SITE}.")
    wrong = misfit(path)
    if wrong is not None:
        raise BenchError(f"{path} is {wrong}", hint=f"Get it again from {_SITE}.")
    try:
        content = _Competition.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        reason = f"{where}: {first['msg']}" if where else first["msg"]
        raise BenchError(
            f"{path} is no annotation of iNaturalist 2017: {reason}",
            hint=f"Unpack train_val2017.zip again ({_SITE}).",
        ) from error
    prefix = f"{_FOLDER}/"
    names = [image.file_name.removeprefix(prefix) for image in content.images]
    birds = sorted(name for name in names if name.startswith("Aves/"))
    if options.check_counts:
        require_count(
            len(birds), AVES_TRAIN, f"training images of Aves in {path}", f"Take it again from {_SITE}."
        )
    if options.images == "all":
        return birds
    if options.draw_count > len(birds):
        raise BenchError(f"draw_count={options.draw_count:,}, and {path} has {len(birds):,} images of Aves")
    drawn = numpy_generator(options.seed, "inat-aves", "draw").permutation(len(birds))[: options.draw_count]
    return [birds[i] for i in sorted(drawn.tolist())]
