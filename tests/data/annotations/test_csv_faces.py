"""CSV as spreadsheets and other programs write it."""

import pytest

from srn_d2.data.annotation_files import AnnotationFormatError
from srn_d2.data.annotations import read_faces
from srn_d2.data.datasets.custom import load_faces

BOX = [10.5, 20, 30, 40]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "cp1252"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_separators_and_encodings(write, pictures, separator, encoding, line_end):
    lines = ["file,x,y,w,h", "sub/ä.jpg,10.5,20,30,40", "sub/c d.jpg,,,,", ""]
    text = line_end.join(lines).replace(",", separator)
    table = read_faces(write("f.csv", text.encode(encoding)), pictures)
    assert table.boxes.tolist() == [BOX]
    assert table.paths == [str(pictures / "sub/ä.jpg"), str(pictures / "sub/c d.jpg")]
    assert table.sizes.tolist() == [[160, 120]] * 2


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("file,x,y,w,h", "a.jpg,10.5,20,30,40"),
        (" File , X , Y , W , H ", "a.jpg,10.5,20,30,40"),
        ("filename,xmin,ymin,xmax,ymax", "a.jpg,10.5,20,40.5,60"),
        ("Image Name;X_Min;X_Max;Y_Min;Y_Max", "a.jpg;10.5;40.5;20;60"),
        ("path,x1,y1,x2,y2,class", "a.jpg,10.5,20,40.5,60,face"),
        ("image,left,top,width,height", "a.jpg,10.5,20,30,40"),
        ("image,left,top,right,bottom", "a.jpg,10.5,20,40.5,60"),
        ("file,cx,cy,w,h", "a.jpg,25.5,40,30,40"),
        # TensorFlow's: width and height are the image's.
        ("filename,width,height,class,xmin,ymin,xmax,ymax", "a.jpg,160,120,f,10.5,20,40.5,60"),
        ("file;x;y;w;h", "a.jpg;10,5;20;30,0;40"),  # decimal commas
        ("file;x;y;w;h;note", 'a.jpg;10.5;20;30;40;"one; two"'),
        ("ImageID,x,y,w,h", "a,10.5,20,30,40"),
    ],
)
def test_names_of_columns(write, pictures, header, row):
    table = read_faces(write("f.csv", f"{header}\n{row}\n"), pictures)
    assert table.boxes.tolist() == [BOX]
    assert table.paths == [str(pictures / "a.jpg")]


def test_the_size_that_a_row_gives_is_compared(write, pictures):
    text = "filename,width,height,class,xmin,ymin,xmax,ymax\na.jpg,320,240,face,1,2,30,40\n"
    with pytest.raises(AnnotationFormatError, match="1 the same picture in another size"):
        read_faces(write("f.csv", text), pictures)


def test_labels_and_ignore_regions(write, pictures):
    rows = ["a.jpg,1,2,30,40,face,0", "a.jpg,3,4,30,40,car,0", "a.jpg,5,6,30,40,face,1"]
    path = write("f.csv", "\n".join(["file,x,y,w,h,label,ignore", *rows]))
    table = read_faces(path, pictures)
    assert table.boxes[:, 0].tolist() == [1, 5]
    assert table.ignored.tolist() == [False, True]
    assert table.dropped == {"of other categories: 'car' (1)": 1}
    assert read_faces(path, pictures, categories=["car"]).boxes[:, 0].tolist() == [3]
    masks = path.read_text().replace("face", "with_mask").replace("car", "bare")
    path = write("f.csv", masks)
    with pytest.raises(AnnotationFormatError, match=r"'with_mask' \(2\), 'bare' \(1\)"):
        read_faces(path, pictures)
    assert len(read_faces(path, pictures, categories=["with_mask", "bare"]).boxes) == 3


def test_scores_are_a_sign_of_detections(write, pictures):
    table = read_faces(write("f.csv", "file,x,y,w,h,score\na.jpg,1,2,30,40,0.9\n"), pictures)
    assert table.notes == ["the column score is passed over: are these detections?"]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize(
    "row", ["a.jpg,1,2,3", "a.jpg,1,2,,4", "a.jpg,1,2,3,nan", ",1,2,3,4", "a.jpg,1,2,3,4,5"]
)
def test_the_error_names_the_line(write, pictures, separator, row):
    lines = ["file,x,y,w,h", "a.jpg,1,2,3,4", "", row]
    path = write("f.tsv", "\n".join(lines).replace(",", separator))
    with pytest.raises(AnnotationFormatError, match=r"f\.tsv, line 4: "):
        read_faces(path, pictures)


@pytest.mark.parametrize(
    "header", ["a.jpg,1,2,3,4", "file,x,y,w", "x,y,w,h", "", "file,x1,y1,w,h2"]
)
def test_a_header_that_lacks_columns(write, pictures, header):
    with pytest.raises(AnnotationFormatError, match="line 1: expected the header file,x,y,w,h"):
        read_faces(write("f.csv", f"{header}\n"), pictures)


def test_without_the_images(write):
    dicts = load_faces(write("f.csv", "file,x,y,w,h\nnot/there.jpg,1,2,30,40\n"))
    assert dicts[0]["file_name"] == "not/there.jpg"
    assert dicts[0]["annotations"][0]["bbox"] == [1, 2, 30, 40]
