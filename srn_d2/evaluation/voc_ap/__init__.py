"""The all-point AP of PASCAL VOC, as AFW and PASCAL face use it."""
