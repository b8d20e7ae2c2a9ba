"""The official protocol of WIDER FACE: AP, its files, and reports on them."""
