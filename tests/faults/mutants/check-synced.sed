# what: the checksum of synced_index is not tested
# file: format/frame.c
# row: flips every
s/f\.synced_intact = .*/f.synced_intact = true;/
