"""AUC of four decision trees on fourteen data sets, in thousandths (Demšar, JMLR 7, 2006, Table 6)."""

DEMSAR = {
    "C4.5": [763, 599, 954, 628, 882, 936, 661, 583, 775, 1000, 940, 619, 972, 957],
    "C4.5+m": [768, 591, 971, 661, 888, 931, 668, 583, 838, 1000, 962, 666, 981, 978],
    "C4.5+cf": [771, 590, 968, 654, 886, 916, 609, 563, 866, 1000, 965, 614, 975, 946],
    "C4.5+m+cf": [798, 569, 967, 657, 898, 931, 685, 625, 875, 1000, 962, 669, 975, 970],
}


def by_case(columns):
    """Method -> values as method -> case -> value."""
    return {
        method: {f"{index:03}": float(value) for index, value in enumerate(column)}
        for method, column in columns.items()
    }
