"""Annotation files of FDDB, AFW and PASCAL face, and what the tests read from a data set."""

import cv2
import numpy as np

# The first records of FDDB-fold-01-ellipseList.txt have this form.
ELLIPSE_LIST = """2002/08/11/big/img_591
1
123.583300 85.549500 1.265839 269.693400 161.781200  1
2002/08/26/big/img_265
3
67.363819 44.511485 -1.476417 105.249970 87.209036  1
41.936870 27.064477 1.471906 184.070915 129.345601  1
70.993052 43.355200 1.370217 340.894300 117.498951  1
"""


def make_image(path, size=(120, 100)):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.zeros((*size, 3), np.uint8))


def boxes_of(dataset):
    return [[a["bbox"] for a in image["annotations"]] for image in dataset]


def ignored_of(dataset):
    return [[a["ignore"] for a in image["annotations"]] for image in dataset]


AFW = {
    "134212_1.jpg": [[[10, 20], [40, 60]], [[100.5, 20], [130, 61.5]]],
    "1004109301.jpg": [[[5, 6], [35, 46]]],
    "empty.jpg": [],
}
AFW_BOXES = [[[10, 20, 30, 40], [100.5, 20, 29.5, 41.5]], [[5, 6, 30, 40]], []]


XML = """<annotation>
  <filename>2008_000008.jpg</filename>
  <object>
    <name>face</name>
    <bndbox><xmin>11</xmin><ymin>21</ymin><xmax>40</xmax><ymax>60</ymax></bndbox>
  </object>
  <object>
    <name>Face</name>
    <difficult>1</difficult>
    <bndbox>
      <xmax>30.5</xmax>
      <xmin>2</xmin>
      <ymin>3</ymin>
      <ymax>50</ymax>
    </bndbox>
  </object>
  <object>
    <name>horse</name>
  </object>
</annotation>
"""


def cell(items):
    """A 1 x n MATLAB cell array."""
    result = np.empty((1, len(items)), object)
    for i, item in enumerate(items):
        result[0, i] = np.asarray(item, float)
    return result


def afw_cells(faces=AFW):
    rows = np.empty((len(faces), 4), object)
    for i, (name, boxes) in enumerate(faces.items()):
        landmarks = cell([np.ones((6, 2))] * len(boxes))
        rows[i] = [name, cell(boxes), cell([[15.0, 0, 0]] * len(boxes)), landmarks]
    return rows


def toolbox_struct(*records):
    array = np.empty((len(records), 1), dtype=[("imgname", object), ("objects", object)])
    for i, record in enumerate(records):
        array[i, 0] = record
    return {"Annotations": array}


def write_xml(root, *texts):
    (root / "Annotations").mkdir(exist_ok=True)
    for i, text in enumerate(texts):
        (root / "Annotations" / f"{i}.xml").write_text(text)
