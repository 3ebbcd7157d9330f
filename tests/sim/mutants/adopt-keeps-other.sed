# what: installing leaves frames of another leader in the log
# file: libcore/adopt.c
# store: disk
s/own.mark.checksum != f->checksum/false/
