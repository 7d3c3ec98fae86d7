"""Plumages that birds wear: colours and marks."""

from __future__ import annotations

from dataclasses import dataclass

Rgb = tuple[int, int, int]


@dataclass(frozen=True)
class Dress:
    """Colours (8-bit sRGB) and marks (0 absent, 1 strong) of a plumage.

    Attributes:
        cap, hood, mask, line, brow, cheek, bib, nape, band: Marks of head and breast, in their own colours.
        streaks, spots, bars: Of breast and flanks. mantle: streaks of the back. wing_bars: pale lines across the
            wing. tail_edge: pale outer feathers. sheen: gloss of dark feathers.
        flank: Colour of the sides below the wings; None for that of the belly.
    """

    back: Rgb
    belly: Rgb
    breast: Rgb
    wing: Rgb
    tail: Rgb
    head: Rgb | None = None
    throat: Rgb | None = None
    flank: Rgb | None = None
    flight: Rgb = (52, 46, 42)
    bar_colour: Rgb = (232, 226, 212)
    mark: Rgb = (30, 26, 24)
    cap_colour: Rgb | None = None
    brow_colour: Rgb = (232, 222, 200)
    beak: Rgb = (64, 58, 56)
    legs: Rgb = (92, 70, 62)
    iris: Rgb = (28, 20, 16)
    cap: float = 0.0
    hood: float = 0.0
    mask: float = 0.0
    line: float = 0.0
    brow: float = 0.0
    cheek: float = 0.0
    bib: float = 0.0
    nape: float = 0.0
    band: float = 0.0
    streaks: float = 0.0
    spots: float = 0.0
    bars: float = 0.0
    mantle: float = 0.2
    wing_bars: float = 0.0
    tail_bars: float = 0.0
    tail_edge: float = 0.0
    sheen: float = 0.0


SPARROW = Dress(
    back=(128, 96, 66), belly=(222, 214, 202), breast=(186, 176, 164), wing=(122, 84, 56), tail=(92, 72, 56),
    head=(156, 146, 136), cap_colour=(132, 70, 42), cap=0.9, line=0.7, brow=0.5, mantle=0.9, wing_bars=0.8,
    beak=(84, 74, 66), legs=(168, 122, 100),
)  # fmt: skip
STREAKED = Dress(
    back=(116, 94, 72), belly=(228, 222, 208), breast=(206, 190, 166), wing=(110, 82, 60), tail=(88, 70, 54),
    head=(142, 122, 98), line=0.5, brow=0.7, streaks=0.9, mantle=1.0, wing_bars=0.4, beak=(110, 92, 80),
    legs=(176, 132, 112), tail_edge=0.5,
)  # fmt: skip
HOUSE_SPARROW = Dress(
    back=(120, 82, 52), belly=(200, 194, 184), breast=(190, 184, 174), wing=(118, 70, 40), tail=(80, 66, 56),
    head=(150, 86, 48), cap_colour=(120, 116, 112), cap=1.0, cheek=0.7, bib=1.0, mask=0.6, mantle=0.9,
    wing_bars=0.8, beak=(44, 40, 40),
)  # fmt: skip
GOLDFINCH = Dress(
    back=(226, 186, 28), belly=(232, 214, 120), breast=(236, 196, 30), wing=(30, 28, 28), tail=(34, 32, 32),
    cap_colour=(20, 18, 18), cap=1.0, wing_bars=1.0, flight=(28, 26, 26), beak=(226, 150, 84), mantle=0.05,
    legs=(188, 140, 112), tail_edge=0.5,
)  # fmt: skip
ROSEFINCH = Dress(
    back=(122, 84, 74), belly=(216, 198, 190), breast=(190, 58, 62), wing=(104, 76, 66), tail=(88, 66, 60),
    head=(178, 48, 54), streaks=0.5, mantle=0.7, wing_bars=0.4, beak=(112, 98, 92),
)  # fmt: skip
BUNTING = Dress(
    back=(40, 78, 172), belly=(58, 100, 190), breast=(46, 90, 190), wing=(40, 58, 110), tail=(36, 52, 96),
    head=(38, 62, 166), mask=0.4, mantle=0.15, beak=(132, 138, 148), flight=(34, 38, 52),
)  # fmt: skip
YELLOW_WARBLER = Dress(
    back=(176, 168, 52), belly=(236, 206, 60), breast=(238, 200, 44), wing=(122, 116, 52), tail=(118, 110, 50),
    head=(230, 196, 46), streaks=0.35, wing_bars=0.4, mark=(142, 64, 36), mantle=0.1, flight=(84, 78, 46),
)  # fmt: skip
GREY_WARBLER = Dress(
    back=(86, 98, 118), belly=(234, 232, 226), breast=(222, 214, 120), wing=(78, 86, 102), tail=(60, 64, 74),
    throat=(232, 204, 60), line=0.6, brow=0.5, wing_bars=1.0, streaks=0.4, mantle=0.3, tail_edge=0.8,
)  # fmt: skip
PIED_WARBLER = Dress(
    back=(150, 150, 150), belly=(236, 236, 232), breast=(230, 230, 226), wing=(60, 58, 58), tail=(48, 46, 46),
    cap_colour=(18, 18, 18), cap=1.0, cheek=0.9, streaks=1.0, mantle=0.9, wing_bars=1.0, bib=0.7,
)  # fmt: skip
WREN = Dress(
    back=(128, 80, 48), belly=(206, 176, 138), breast=(214, 190, 158), wing=(120, 74, 44), tail=(124, 78, 48),
    brow=0.9, line=0.4, bars=0.4, mantle=0.4, tail_bars=0.9, wing_bars=0.2, flight=(86, 54, 34),
    beak=(98, 84, 72), legs=(150, 116, 96),
)  # fmt: skip
ROBIN = Dress(
    back=(96, 92, 88), belly=(226, 220, 212), breast=(198, 92, 38), flank=(196, 96, 42), wing=(92, 86, 80),
    tail=(62, 58, 56), head=(58, 54, 52), brow=0.2, mantle=0.15, beak=(218, 168, 66), flight=(66, 60, 56),
)  # fmt: skip
THRUSH = Dress(
    back=(134, 98, 66), belly=(238, 234, 226), breast=(232, 218, 196), wing=(128, 92, 60), tail=(120, 84, 56),
    spots=1.0, mantle=0.15, flight=(98, 72, 50), beak=(92, 78, 68), legs=(200, 160, 140), cheek=0.3,
)  # fmt: skip
BLUEBIRD = Dress(
    back=(58, 96, 176), belly=(234, 230, 226), breast=(190, 98, 52), wing=(50, 84, 166), tail=(52, 88, 168),
    head=(56, 92, 172), flank=(186, 104, 62), flight=(44, 52, 80), mantle=0.1,
)  # fmt: skip
CARDINAL = Dress(
    back=(162, 38, 34), belly=(204, 42, 34), breast=(206, 38, 30), wing=(142, 40, 38), tail=(150, 36, 34),
    head=(208, 34, 28), mask=1.0, mantle=0.1, beak=(226, 96, 46), flight=(104, 44, 42),
)  # fmt: skip
PYRRHULOXIA = Dress(
    back=(148, 128, 104), belly=(202, 172, 138), breast=(194, 160, 124), wing=(144, 88, 70), tail=(150, 76, 60),
    mask=0.5, mantle=0.15, beak=(224, 112, 60), flight=(120, 72, 62),
)  # fmt: skip
WAXWING = Dress(
    back=(146, 112, 84), belly=(216, 198, 126), breast=(178, 136, 98), wing=(112, 104, 104), tail=(90, 90, 96),
    head=(172, 128, 88), mask=1.0, mantle=0.05, tail_edge=0.0, beak=(34, 30, 30), flight=(66, 64, 68),
)  # fmt: skip
JAY = Dress(
    back=(78, 102, 170), belly=(222, 220, 218), breast=(200, 200, 204), wing=(46, 88, 186), tail=(50, 92, 190),
    head=(66, 98, 178), throat=(226, 226, 226), band=0.9, wing_bars=0.9, tail_bars=0.9, cheek=0.8, mantle=0.1,
    flight=(40, 62, 130), beak=(38, 36, 38), legs=(52, 48, 48), tail_edge=0.4,
)  # fmt: skip
CROW = Dress(
    back=(34, 34, 40), belly=(40, 38, 42), breast=(36, 35, 40), wing=(30, 30, 38), tail=(28, 28, 34),
    flight=(24, 24, 30), sheen=0.7, beak=(30, 28, 28), legs=(34, 32, 32), mantle=0.15,
)  # fmt: skip
GRACKLE = Dress(
    back=(52, 42, 40), belly=(40, 36, 42), breast=(40, 44, 62), wing=(44, 38, 44), tail=(34, 32, 44),
    head=(30, 40, 78), flight=(30, 28, 34), sheen=1.0, iris=(226, 206, 92), beak=(34, 32, 32), legs=(40, 38, 38),
)  # fmt: skip
BLACKBIRD = Dress(
    back=(34, 32, 32), belly=(38, 36, 36), breast=(36, 34, 34), wing=(30, 28, 28), tail=(28, 27, 27),
    flight=(26, 25, 25), sheen=0.4, beak=(224, 150, 40), legs=(80, 60, 50), mantle=0.1,
)  # fmt: skip
SWALLOW = Dress(
    back=(34, 52, 106), belly=(232, 206, 172), breast=(230, 204, 170), wing=(36, 46, 82), tail=(32, 38, 62),
    throat=(160, 70, 44), band=0.8, mark=(30, 44, 92), sheen=0.6, flight=(42, 40, 46), beak=(30, 28, 28),
    cap_colour=(34, 52, 106), cap=0.6,
)  # fmt: skip
TERN = Dress(
    back=(176, 184, 194), belly=(240, 240, 240), breast=(240, 240, 240), wing=(180, 188, 198),
    tail=(230, 232, 234), head=(240, 240, 240), cap_colour=(22, 22, 24), cap=1.2, nape=0.7, mantle=0.02,
    flight=(126, 130, 138), beak=(214, 72, 40), legs=(206, 74, 44),
)  # fmt: skip
GULL = Dress(
    back=(146, 152, 162), belly=(240, 240, 238), breast=(238, 238, 236), wing=(148, 154, 164),
    tail=(236, 236, 234), head=(240, 240, 238), mantle=0.02, flight=(50, 50, 52), beak=(228, 188, 60),
    legs=(216, 160, 130), iris=(222, 210, 140), tail_bars=0.0,
)  # fmt: skip
KINGFISHER = Dress(
    back=(88, 112, 136), belly=(236, 234, 230), breast=(232, 230, 228), wing=(84, 106, 130), tail=(80, 98, 118),
    head=(84, 108, 132), throat=(238, 236, 232), band=1.0, mark=(86, 104, 126), flight=(58, 64, 74),
    tail_bars=0.8, beak=(52, 50, 50), mantle=0.1, wing_bars=0.2,
)  # fmt: skip
WOODPECKER = Dress(
    back=(48, 44, 44), belly=(224, 214, 202), breast=(218, 204, 190), wing=(44, 42, 42), tail=(38, 36, 36),
    head=(212, 204, 192), cap_colour=(200, 34, 28), cap=1.1, nape=1.0, mantle=0.1, bars=0.2, wing_bars=1.0,
    tail_bars=0.5, beak=(62, 60, 60), flight=(40, 38, 38), line=0.3,
)  # fmt: skip
MALLARD = Dress(
    back=(128, 112, 98), belly=(196, 192, 186), breast=(108, 62, 42), wing=(132, 120, 108), tail=(206, 202, 196),
    head=(20, 88, 56), hood=1.0, wing_bars=0.6, sheen=0.5, flight=(86, 78, 72), beak=(214, 184, 62),
    legs=(226, 110, 38), mantle=0.15, bars=0.1,
)  # fmt: skip
DUCK = Dress(
    back=(118, 92, 66), belly=(186, 160, 128), breast=(164, 132, 98), wing=(112, 90, 68), tail=(142, 118, 92),
    head=(164, 136, 106), line=0.8, cap_colour=(84, 64, 46), cap=0.6, spots=0.8, mantle=1.0, wing_bars=0.5,
    beak=(186, 124, 60), legs=(214, 112, 48), flight=(84, 68, 54),
)  # fmt: skip
HUMMINGBIRD = Dress(
    back=(58, 122, 62), belly=(214, 212, 206), breast=(206, 206, 202), wing=(70, 66, 70), tail=(52, 66, 52),
    head=(52, 118, 58), throat=(190, 24, 52), sheen=0.8, flight=(66, 60, 64), beak=(28, 26, 26), mantle=0.2,
    flank=(132, 158, 110),
)  # fmt: skip
