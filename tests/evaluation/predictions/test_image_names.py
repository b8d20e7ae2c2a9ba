"""Names of predictions find their images, and no other ones."""

from hypothesis import given, settings
from hypothesis import strategies as st

from srn_d2.evaluation.predictions.image_names import ImageNames

NAMES = {1: "party/1.jpg", 2: "party/2.jpg", 3: "work/1.jpg", 4: "single.PNG", 5: "Zoë/é.jpg"}
IMAGES = ImageNames(NAMES)


def match(*names, images=IMAGES):
    return images.match(names).images


def test_exact_names():
    assert match(*NAMES.values()) == {name: image_id for image_id, name in NAMES.items()}


def test_other_folders_before_and_other_separators():
    for name in ("/data/photos/party/2.jpg", "photos\\party\\2.jpg", "./party/2.jpg"):
        assert match(name) == {name: 2}
    for name in ("file:///data/my%20photos/party/2.jpg", "2.jpg", "2", "party/2", "party/2.png"):
        assert match(name) == {name: 2}


def test_unicode_forms():
    assert match("Zoe\u0308/e\u0301.jpg") == {"Zoe\u0308/e\u0301.jpg": 5}


def test_flattened_names():
    assert match("party_2.txt.jpg") == {}
    assert match("party_1.jpg", "work_1") == {"party_1.jpg": 1, "work_1": 3}


def test_one_name_of_two_images_is_ambiguous():
    found = IMAGES.match(["1.jpg"])
    assert (found.images, found.ambiguous) == ({}, ["1.jpg"])


def test_two_names_of_one_image_are_ambiguous():
    found = IMAGES.match(["a/party/2.jpg", "b/party/2.jpg"])
    assert (found.images, sorted(found.ambiguous)) == ({}, ["a/party/2.jpg", "b/party/2.jpg"])


def test_the_closer_name_has_the_image():
    found = IMAGES.match(["elsewhere/2.jpg", "party/2.jpg"])
    assert found.images == {"party/2.jpg": 2}
    assert found.unknown == ["elsewhere/2.jpg"]


def test_other_folders_are_told():
    found = IMAGES.match(["elsewhere/single.PNG", "elsewhere/2.jpg"])
    assert found.images == {"elsewhere/single.PNG": 4, "elsewhere/2.jpg": 2}
    assert found.by_last_part == ["elsewhere/2.jpg"]


def test_suffixes_tell_images_of_one_stem_apart():
    images = ImageNames({1: "a.jpg", 2: "a.png"})
    assert match("a.jpg", "a.png", images=images) == {"a.jpg": 1, "a.png": 2}
    assert images.match(["a"]).ambiguous == ["a"]


_PARTS = st.sampled_from(["a", "b", "c", "1", "2"])
_PATHS = st.lists(_PARTS, min_size=1, max_size=3).map(lambda parts: "/".join(parts) + ".jpg")


@given(st.lists(_PATHS, unique=True, max_size=8), st.lists(_PATHS, max_size=8))
@settings(deadline=None)
def test_each_image_has_one_name_at_most(own, others):
    images = ImageNames(dict(enumerate(own)))
    found = images.match(others)
    assert len(set(found.images.values())) == len(found.images)
    assert sorted([*found.images, *found.unknown, *found.ambiguous]) == sorted(set(others))
    for name, image_id in images.match(own).images.items():
        assert own[image_id] == name
    assert len(images.match(own).images) == len(own)
